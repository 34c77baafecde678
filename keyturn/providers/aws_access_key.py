"""AWS access keys of an IAM user. Names: see aws_user.

**Two texts in one.** An access key is an id and a secret, and a value of ours is one text: the compact JSON object
`{"AWS_ACCESS_KEY_ID":"...","AWS_SECRET_ACCESS_KEY":"..."}`, in this order. Deliveries take it apart (keyturn.key_parts).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from keyturn.aws.sdk import attempt, code_of, make_client, status_of
from keyturn.aws.settings import AWSLogin
from keyturn.durations import Duration
from keyturn.errors import MisconfiguredError
from keyturn.json_object import UnreadableError, inside, text
from keyturn.key_parts import AWS_ACCESS_KEY, joined, stranger, taken_apart
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, Judgement, KeyRef, Verdict
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.admin_api import Answer as HttpAnswer
from keyturn.providers.aws_iam import Answer, moment
from keyturn.providers.aws_permissions import permissions
from keyturn.providers.aws_user import MOST, IamUser, UserSettings
from keyturn.providers.facts import Facts, Known, Shape, Source
from keyturn.providers.fields import key_text, mapping, plain_id
from keyturn.providers.probe import Probe
from keyturn.providers.verdicts import Verdicts, dead

_ID, _SECRET = (part.variable for part in AWS_ACCESS_KEY)


class AwsAccessKey(IamUser):
    """The access keys of one IAM user. A key's id has a hyphen after its fourth letter here: whole, ids of access keys
    are what scanners of logs and notes take for a leaked key."""

    KIND, MAKE = "access", "CreateAccessKey"
    FACTS: ClassVar[Facts] = Facts(
        vendor="AWS",
        shape=Shape.CREATE_DELETE,
        variables=(_ID, _SECRET),
        models="bedrock/",
        keyless="an IAM role for the pod, task or machine: LiteLLM finds it by itself, and no access key is made; or a "
        "lease of short-term Bedrock keys (bedrock_token)",
        steps="AWS and Bedrock",
        login="AWS credentials that may iam:Create-, List-, Update- and DeleteAccessKey, iam:GetAccessKeyLastUsed, "
        "iam:TagUser, iam:UntagUser and iam:ListUserTags, on the one user",
        disables=True,
        last_use="to the second, reported late",
        most_keys=MOST,
        sources=(
            Source("botocore 1.44.5, IAM 2010-05-08 and STS 2011-06-15"),
            Source("aws/aws-cli issue 7611", Known.SECONDARY, "the tag with a key's description"),
            Source("memory", Known.RECALLED, "how late a last use is reported: the setting usage_lag"),
        ),
        risks=(
            "A key has no name: it stands in a tag of the user. A key that a person makes within minutes of a create whose "
            "answer was lost is taken for that one, and revoked as a stray.",
            "A key does not expire by itself.",
            "The value is both parts, as a JSON object. keyturn's deliveries take it apart: into two variables, and never "
            "into files (`--deliver file`). Whoever reads the store by other means has to take it apart, too.",
        ),
        permissions=permissions(
            create="CreateAccessKey",
            delete="DeleteAccessKey",
            update="UpdateAccessKey",
            lists=("ListAccessKeys", "GetAccessKeyLastUsed", "ListUserTags"),
        ),
    )
    # Not SignatureDoesNotMatch: a clock that is wrong is answered so, too.
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "AWS",
        (dead(403, "AWS", code="InvalidClientTokenId"), dead(403, "AWS", code="UnrecognizedClientException")),
        accepted=lambda document: isinstance(document.get("Account"), str) and isinstance(document.get("Arn"), str),
        code=lambda document: str(inside(document, "Error", "Code") or ""),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": (
            "ListAccessKeys, GetAccessKeyLastUsed for each, ListUserTags",
            "iam:ListAccessKeys, iam:GetAccessKeyLastUsed, iam:ListUserTags",
        ),
        "create": (
            "what list calls, TagUser, CreateAccessKey, TagUser, UntagUser",
            "iam:CreateAccessKey, iam:TagUser, iam:UntagUser",
        ),
        "check": ("GetCallerIdentity of STS, with the key under test, and once with a garbage key", "none"),
        "last_used": ("as list", "iam:GetAccessKeyLastUsed"),
        "revoke": ("DeleteAccessKey, UntagUser, then as list", "iam:DeleteAccessKey"),
        "disable": ("UpdateAccessKey", "iam:UpdateAccessKey"),
    }

    class Settings(UserSettings):
        """`sts_endpoint_url`: where a key is tried, too; without, STS's of the region."""

        usage_lag: Duration = timedelta(hours=4)

    def _admin(self) -> AdminApi:
        s = self.settings
        at = s.sts_endpoint_url or f"https://sts.{s.region}.amazonaws.com"
        return AdminApi("AWS", at, _nobody, s.timeout, "")

    def _probe(self, verdicts: Verdicts) -> Probe:
        return _CallerProbe(self.api, self.settings, verdicts)

    def _nameless(self, answer: Answer) -> CreatedKey:
        made = mapping(answer.get("AccessKey"))
        id, secret = text(made.get("AccessKeyId")), text(made.get("SecretAccessKey"))
        return CreatedKey(_key(made), key_text(_joined(id, secret)))

    async def _listed_keys(self) -> Sequence[KeyRef]:
        keys = [_key(mapping(each)) for each in await self.iam.pages("ListAccessKeys", "AccessKeyMetadata")]
        return [replace(key, last_used_at=await self._last_use(key)) for key in keys]

    async def _last_use(self, key: KeyRef) -> datetime | None:
        answer = await self.iam.call("GetAccessKeyLastUsed", {"AccessKeyId": _as_aws_has_it(key.id)}, about_user=False)
        used = None if answer is None else mapping(answer.get("AccessKeyLastUsed")).get("LastUsedDate")
        return None if used is None else moment(used)

    async def _delete_by_id(self, id: str) -> bool:
        return await self.iam.call("DeleteAccessKey", {"AccessKeyId": _as_aws_has_it(id)}) is not None

    async def disable(self, key: KeyRef) -> None:
        """Reversible: `enable`."""
        await self._turn(key, "Inactive")

    async def enable(self, key: KeyRef) -> None:
        """As before `disable`."""
        await self._turn(key, "Active")

    async def _turn(self, key: KeyRef, status: str) -> None:
        given = {"AccessKeyId": _as_aws_has_it(key.id), "Status": status}
        self._there(await self.iam.call("UpdateAccessKey", given), key)

    def _tag_of(self, id: str) -> str:
        return _as_aws_has_it(id)


class _CallerProbe(Probe):
    """By the SDK: STS answers in XML, and its requests are signed."""

    def __init__(self, api: AdminApi, settings: AWSLogin, verdicts: Verdicts) -> None:
        super().__init__(api, "POST", "/", lambda _: {}, verdicts, _stranger)
        # The key under test, and no other login; the address is STS's.
        self._login = AWSLogin(region=settings.region, endpoint_url=settings.sts_endpoint_url, timeout=settings.timeout)

    async def _judge(self, material: KeyMaterial) -> Judgement:
        try:
            parts = [part.reveal() for part in taken_apart(material, AWS_ACCESS_KEY).values()]
        except MisconfiguredError as fault:
            return Judgement(Verdict.INDETERMINATE, fault.message)
        answer = await asyncio.to_thread(attempt, partial(_caller, self._login, parts))
        if isinstance(answer, ClientError):
            error = {"Error": {"Code": code_of(answer)}}
            return self._verdicts.judge(HttpAnswer(status_of(answer), {}, error, bool(code_of(answer))))
        if isinstance(answer, Exception):
            return Judgement(Verdict.INDETERMINATE, f"no answer from AWS ({type(answer).__name__})")
        return self._verdicts.judge(HttpAnswer(200, {}, answer, True))


def _caller(login: AWSLogin, parts: Sequence[str]) -> Mapping[str, Any]:
    client = make_client("sts", login, parts, 1)
    try:
        found: Mapping[str, Any] = client.get_caller_identity()
    finally:
        client.close()
    return found


def _joined(id: str, secret: str) -> str:
    return joined({_ID: id, _SECRET: secret})


def _stranger() -> str:
    return stranger(AWS_ACCESS_KEY).reveal()


def _key(data: Mapping[str, Any]) -> KeyRef:
    id = text(data.get("AccessKeyId"))
    if not id.isalnum() or not 16 <= len(id) <= 128:
        raise UnreadableError
    return KeyRef(
        id=f"{id[:4]}-{id[4:]}",
        name="",
        hint=_joined(id, "...").removesuffix('"}'),
        owner=plain_id(data.get("UserName")),
        created_at=moment(data.get("CreateDate")),
    )


def _as_aws_has_it(id: str) -> str:
    return id.replace("-", "", 1)


async def _nobody() -> Mapping[bytes, bytes]:
    return {}
