"""The least IAM policy for AWS Secrets Manager, as a JSON document: to whoever rotates, and to a proxy that reads its keys.

Actions and condition keys as in AWS's Service Authorization Reference for Secrets Manager, and the encryption context as in
its user guide, "Secret encryption and decryption" (SecretARN). Which actions a rotation takes is counted on the double
(tests/policies/test_aws_policy.py); that AWS itself takes the document was not tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keyturn.errors import MisconfiguredError
from keyturn.model import SecretRef
from keyturn.stores.aws_settings import AWSSettings

_ARN = re.compile(
    r"arn:(?P<partition>[a-z-]+):secretsmanager:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):secret:(?P<name>.+)"
)
_ROLE = re.compile(r"arn:(?P<partition>[a-z-]+):iam::(?P<account>\d{12}):role/.+")
_ACCOUNT = re.compile(r"\d{12}")
_KEY = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+")
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}")  # what AWS puts behind a name in an ARN

TURN = (
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetSecretValue",
    "secretsmanager:PutSecretValue",
    "secretsmanager:UpdateSecretVersionStage",
)
NOTE = ("secretsmanager:TagResource", "secretsmanager:UntagResource")
READ = ("secretsmanager:GetSecretValue",)


def policy(
    settings: AWSSettings,
    turned: Sequence[SecretRef],
    read: Sequence[SecretRef],
    *,
    account: str | None = None,
    kms_key: str | None = None,
    creates: bool = False,
) -> dict[str, Any]:
    """The policy document. `account`: where no ARN and no role tells it. `kms_key`: the ARN of the secrets' own KMS key.

    `creates`: what `keyturn put` needs beside, to make a secret that is missing. MisconfiguredError for what cannot be an
    account or a key, and where the account is not known.
    """
    if account is not None and not _ACCOUNT.fullmatch(account):
        raise MisconfiguredError("an AWS account is twelve digits", remedy="give --account 123456789012")
    if kms_key is not None and not _KEY.fullmatch(kms_key):
        raise MisconfiguredError("--kms-key must be the ARN of a KMS key", remedy="give arn:aws:kms:REGION:ACCOUNT:key/ID")
    there = _arns(settings, turned, account)
    # A proxy may stand in the region of a replica, which has the same name there.
    everywhere = [arn for region in (settings.region, *settings.replicas) for arn in _arns(settings, read, account, region)]
    statements = []
    if there:
        statements.append(_statement("TurnTheSecrets", TURN, there))
        ours = {"ForAllValues:StringLike": {"aws:TagKeys": ["keyturn:*"]}, "Null": {"aws:TagKeys": "false"}}
        statements.append(_statement("WriteNotesBesideThem", NOTE, there, ours))
    if there and creates:
        replicates = ("secretsmanager:ReplicateSecretToRegions",) if settings.replicas else ()
        tags = ("secretsmanager:TagResource",) if settings.tags else ()
        statements.append(_statement("CreateWhatIsMissing", ("secretsmanager:CreateSecret", *tags, *replicates), there))
    if everywhere:
        statements.append(_statement("ReadTheSecrets", READ, everywhere))
    if kms_key is not None:
        # Through Secrets Manager alone, and for these secrets alone: it names the secret in the encryption context.
        regions = dict.fromkeys(arn.split(":")[3] for arn in (*there, *everywhere))
        condition = {
            "StringEquals": {"kms:ViaService": [f"secretsmanager.{region}.amazonaws.com" for region in regions]},
            "StringLike": {"kms:EncryptionContext:SecretARN": list(dict.fromkeys((*there, *everywhere)))},
        }
        actions = ("kms:Decrypt", "kms:GenerateDataKey") if there else ("kms:Decrypt",)
        statements.append(_statement("WithTheirKmsKey", actions, [kms_key], condition))
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(
    sid: str, actions: Iterable[str], resources: Iterable[str], condition: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(dict.fromkeys(resources))}
    return {**statement, "Condition": dict(condition)} if condition else statement


def _arns(settings: AWSSettings, secrets: Iterable[SecretRef], account: str | None, region: str | None = None) -> list[str]:
    """Each secret's ARN in a region, once. A name has six characters behind it there that AWS chooses."""
    role = _ROLE.fullmatch(settings.role_arn or "")
    partition, known = (role["partition"], role["account"]) if role else ("aws", None)
    found = []
    for secret in secrets:
        arn = _ARN.fullmatch(secret.path)
        owner = arn["account"] if arn else known or account
        if owner is None:
            raise MisconfiguredError(
                f"the account of {secret} is not known", remedy="give --account, or the secret's ARN in keyturn.yaml"
            )
        name = arn["name"] if arn else secret.path
        suffix = "" if arn and _SUFFIX.search(name[-7:]) else "-??????"
        where = region or (arn["region"] if arn else settings.region)
        found.append(f"arn:{arn['partition'] if arn else partition}:secretsmanager:{where}:{owner}:secret:{name}{suffix}")
    return list(dict.fromkeys(found))
