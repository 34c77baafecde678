"""boto3 1.44.5, with the project's own Python: IAM's access keys, and STS with one of them.

Every answer is read with the shapes that the SDK declares for it: nothing missing, nothing of another type.
"""

import json
import os
import sys

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.validate import validate_parameters

url = sys.argv[1]
session = boto3.Session(os.environ["ADMIN_ID"], os.environ["ADMIN"], region_name="us-east-1")
iam = session.client("iam", endpoint_url=url)


def call(client, operation, **given):
    answer = getattr(client, xform_name(operation))(**given)
    told = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
    if (shape := client.meta.service_model.operation_model(operation).output_shape) is not None:
        validate_parameters(told, shape)
    return told


def caller(key):
    itself = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")
    try:
        return call(itself.client("sts", endpoint_url=url), "GetCallerIdentity")["Account"]
    except ClientError as error:
        return error.response["Error"]["Code"]


def listed():
    found = call(iam, "ListAccessKeys", UserName="litellm")["AccessKeyMetadata"]
    return [[each["AccessKeyId"], each["Status"]] for each in found]


def permissions():
    """As IAM's policy simulator has it."""
    principal = call(session.client("sts", endpoint_url=url), "GetCallerIdentity")["Arn"]
    user = call(iam, "GetUser", UserName="litellm")["User"]["Arn"]
    asked = {"PolicySourceArn": principal, "ActionNames": ["iam:CreateAccessKey"], "ResourceArns": [user]}
    (found,) = call(iam, "SimulatePrincipalPolicy", **asked)["EvaluationResults"]
    return [found["EvalDecision"], [each["EvalResourceName"] == user for each in found["ResourceSpecificResults"]]]


key = call(iam, "CreateAccessKey", UserName="litellm")["AccessKey"]
id = key["AccessKeyId"]
never = call(iam, "GetAccessKeyLastUsed", AccessKeyId=id)["AccessKeyLastUsed"]
first = [caller(key), listed()]
used = call(iam, "GetAccessKeyLastUsed", AccessKeyId=id)["AccessKeyLastUsed"]
call(iam, "UpdateAccessKey", UserName="litellm", AccessKeyId=id, Status="Inactive")
second = [caller(key), listed()]
call(iam, "DeleteAccessKey", UserName="litellm", AccessKeyId=id)
refusals = []
try:
    call(iam, "DeleteAccessKey", UserName="litellm", AccessKeyId=id)
except iam.exceptions.NoSuchEntityException as error:
    refusals.append(error.response["Error"]["Code"])
try:
    for _ in range(3):
        call(iam, "CreateAccessKey", UserName="litellm")
except iam.exceptions.LimitExceededException as error:
    refusals.append(error.response["Error"]["Code"])

told = {
    "id": id,
    "may": permissions(),
    "secret": key["SecretAccessKey"],
    "first": first,
    "second": second,
    "refusals": refusals,
}
json.dump({**told, "never": "LastUsedDate" in never, "used": "LastUsedDate" in used}, sys.stdout)
