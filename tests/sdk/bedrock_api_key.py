"""boto3 1.44.5, with the project's own Python: IAM's service-specific credentials, and Bedrock with one of them.

Every answer is read with the shapes that the SDK declares for it: nothing missing, nothing of another type.
"""

import json
import os
import sys

import boto3
from botocore import UNSIGNED, xform_name
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import validate_parameters

url = sys.argv[1]
SERVICE = "bedrock.amazonaws.com"
session = boto3.Session(os.environ["ADMIN_ID"], os.environ["ADMIN"], region_name="us-east-1")
iam = session.client("iam", endpoint_url=url)


def call(client, operation, **given):
    answer = getattr(client, xform_name(operation))(**given)
    told = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
    if (shape := client.meta.service_model.operation_model(operation).output_shape) is not None:
        validate_parameters(told, shape)
    return told


def models(text):
    # The SDK wants TLS for a key of Bedrock's, and the simulator has none: so the header is put there by hand.
    client = session.client("bedrock", endpoint_url=url, config=Config(signature_version=UNSIGNED))
    bearer = {"Authorization": f"Bearer {text}"}
    client.meta.events.register("before-call", lambda params, **_: params["headers"].update(bearer))
    try:
        return len(call(client, "ListFoundationModels")["modelSummaries"])
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


def listed():
    found = call(iam, "ListServiceSpecificCredentials", UserName="litellm", ServiceName=SERVICE)
    return [[each["ServiceSpecificCredentialId"], each["Status"]] for each in found["ServiceSpecificCredentials"]]


def permissions():
    """As IAM's policy simulator has it."""
    principal = call(session.client("sts", endpoint_url=url), "GetCallerIdentity")["Arn"]
    user = call(iam, "GetUser", UserName="litellm")["User"]["Arn"]
    asked = {"PolicySourceArn": principal, "ActionNames": ["iam:CreateServiceSpecificCredential"], "ResourceArns": [user]}
    (found,) = call(iam, "SimulatePrincipalPolicy", **asked)["EvaluationResults"]
    return [found["EvalDecision"], [each["EvalResourceName"] == user for each in found["ResourceSpecificResults"]]]


made = call(iam, "CreateServiceSpecificCredential", UserName="litellm", ServiceName=SERVICE, CredentialAgeDays=30)
key = made["ServiceSpecificCredential"]
id, before = key["ServiceSpecificCredentialId"], key["ServiceCredentialSecret"]
again = call(iam, "ResetServiceSpecificCredential", UserName="litellm", ServiceSpecificCredentialId=id)
text = again["ServiceSpecificCredential"]["ServiceCredentialSecret"]
reset = [models(before), again["ServiceSpecificCredential"]["ServiceSpecificCredentialId"]]
call(iam, "TagUser", UserName="litellm", Tags=[{"Key": id, "Value": "from the SDK"}])
tags = call(iam, "ListUserTags", UserName="litellm")["Tags"]
first = [models(text), listed()]
call(iam, "UpdateServiceSpecificCredential", UserName="litellm", ServiceSpecificCredentialId=id, Status="Inactive")
second = [models(text), listed()]
call(iam, "DeleteServiceSpecificCredential", UserName="litellm", ServiceSpecificCredentialId=id)
call(iam, "UntagUser", UserName="litellm", TagKeys=[id])
refusals = []
try:
    call(iam, "DeleteServiceSpecificCredential", UserName="litellm", ServiceSpecificCredentialId=id)
except iam.exceptions.NoSuchEntityException as error:
    refusals.append(error.response["Error"]["Code"])
try:
    for _ in range(3):
        call(iam, "CreateServiceSpecificCredential", UserName="litellm", ServiceName=SERVICE)
except iam.exceptions.LimitExceededException as error:
    refusals.append(error.response["Error"]["Code"])

told = {
    "id": id,
    "may": permissions(),
    "text": text,
    "before": before,
    "reset": reset,
    "tags": tags,
    "first": first,
    "second": second,
    "refusals": refusals,
}
json.dump({**told, "left": call(iam, "ListUserTags", UserName="litellm")["Tags"]}, sys.stdout)
