"""Amazon Bedrock: its long-term API keys, which IAM has as service-specific credentials of a user. Names: see aws_user."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from keyturn.errors import ConflictError
from keyturn.json_object import UnreadableError, inside
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.aws_iam import Answer, moment
from keyturn.providers.aws_permissions import permissions
from keyturn.providers.aws_user import MOST, IamUser, UserSettings
from keyturn.providers.facts import Facts, Known, Shape, Source, WithoutOverlap
from keyturn.providers.fields import key_text, mapping, plain_id
from keyturn.providers.logins import with_bearer
from keyturn.providers.probe import Probe
from keyturn.providers.verdicts import Row, Verdicts, dead
from keyturn.references import Address

_SERVICE = {"ServiceName": "bedrock.amazonaws.com"}
_DAY = timedelta(days=1)


class BedrockApiKey(IamUser):
    """The Bedrock API keys of one IAM user."""

    KIND, MAKE = "bedrock", "CreateServiceSpecificCredential"
    FACTS: ClassVar[Facts] = Facts(
        vendor="Amazon Bedrock",
        shape=Shape.CREATE_DELETE,
        variables=("AWS_BEARER_TOKEN_BEDROCK",),
        models="bedrock/",
        keyless="an IAM role for the pod, task or machine; or a lease of short-term Bedrock keys of at most 12 hours "
        "(bedrock_token)",
        steps="AWS and Bedrock",
        login="AWS credentials that may iam:Create-, List-, Update- and DeleteServiceSpecificCredential, iam:TagUser, "
        "iam:UntagUser and iam:ListUserTags, on the one user",
        disables=True,
        expiry="1 to 36600 days, whole days",
        most_keys=MOST,
        in_place="without overlap",
        sources=(
            Source("botocore 1.44.5, IAM 2010-05-08 and Bedrock 2023-04-20"),
            Source("issues of other projects", Known.SECONDARY, "how Bedrock answers a key that nobody has"),
            Source("memory", Known.RECALLED, "the name bedrock.amazonaws.com of the service"),
        ),
        risks=(
            "A key has no name: it stands in a tag of the user. A key that a person makes within minutes of a create whose "
            "answer was lost is taken for that one, and revoked as a stray.",
            "IAM tells neither a key's last use nor a hint of its text: the key in use before the first rotation cannot be "
            "matched, and is left for a person to delete. Until then no third can be made.",
            "Bedrock refuses a key of another region in the same words as a dead one: region has to be the key's.",
        ),
        permissions=permissions(
            create="CreateServiceSpecificCredential",
            delete="DeleteServiceSpecificCredential",
            update="UpdateServiceSpecificCredential",
            lists=("ListServiceSpecificCredentials", "ListUserTags"),
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Amazon Bedrock",
        (
            dead(403, "Amazon Bedrock", says="make sure your api key is valid", known="S"),
            Row(
                403, "the key may not list models (403): allow bedrock:ListFoundationModels and bedrock:CallWithBearerToken"
            ),
        ),
        accepted=lambda document: isinstance(document.get("modelSummaries"), list),
        message=lambda document: str(inside(document, "Message") or inside(document, "message") or "")[:2000],
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": (
            "ListServiceSpecificCredentials, ListUserTags",
            "iam:ListServiceSpecificCredentials, iam:ListUserTags",
        ),
        "create": (
            "what list calls, TagUser, CreateServiceSpecificCredential, TagUser, UntagUser",
            "iam:CreateServiceSpecificCredential, iam:TagUser, iam:UntagUser",
        ),
        "check": (
            "GET /foundation-models of Bedrock, with the key under test, and once with a garbage key",
            "none; of the key: bedrock:ListFoundationModels, bedrock:CallWithBearerToken",
        ),
        "last_used": ("nothing: IAM does not know", "none"),
        "revoke": ("DeleteServiceSpecificCredential, UntagUser, then as list", "iam:DeleteServiceSpecificCredential"),
        "turn": (
            "ResetServiceSpecificCredential; with `in_place`, instead of create",
            "iam:ResetServiceSpecificCredential",
        ),
        "disable": ("UpdateServiceSpecificCredential", "iam:UpdateServiceSpecificCredential"),
    }

    class Settings(UserSettings):
        """`bedrock_endpoint_url`: where a key is tried; without, Bedrock's of the region. `in_place: without_overlap`: a
        rotation resets the key in service, whose old text is refused at once, so that requests fail until every member is
        rolled; one that has an end is not reset, since nobody says that its end moves. Without, it makes another key."""

        in_place: WithoutOverlap | None = None
        bedrock_endpoint_url: Address | None = None

    def _admin(self) -> AdminApi:
        s = self.settings
        at = s.bedrock_endpoint_url or f"https://bedrock.{s.region}.amazonaws.com"
        return AdminApi("Amazon Bedrock", at, _nobody, s.timeout, "")

    def _probe(self, verdicts: Verdicts) -> Probe:
        return Probe(self.api, "GET", "/foundation-models", with_bearer, verdicts)

    def _made_with(self, expires_in: timedelta | None) -> Mapping[str, Any]:
        return _SERVICE if expires_in is None else {**_SERVICE, "CredentialAgeDays": max(1, math.ceil(expires_in / _DAY))}

    def _nameless(self, answer: Answer) -> CreatedKey:
        made = mapping(answer.get("ServiceSpecificCredential"))
        return CreatedKey(_key(made), key_text(made.get("ServiceCredentialSecret")))

    async def _listed_keys(self) -> Sequence[KeyRef]:
        listed = await self.iam.pages("ListServiceSpecificCredentials", "ServiceSpecificCredentials", _SERVICE)
        return [_key(mapping(each)) for each in listed]

    async def _delete_by_id(self, id: str) -> bool:
        return await self.iam.call("DeleteServiceSpecificCredential", {"ServiceSpecificCredentialId": id}) is not None

    @property
    def old_text_lives(self) -> timedelta | None:
        """None at all, where it is asked for."""
        return timedelta(0) if self.settings.in_place else None

    async def turn(self, key: KeyRef, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says."""
        if key.expires_at is not None:
            raise ConflictError(f"the key {key.id} has an end, which a reset is not known to set anew")
        made: CreatedKey = await self.iam.make(
            "ResetServiceSpecificCredential", self._nameless, {"ServiceSpecificCredentialId": key.id}
        )
        return CreatedKey(key, made.material)

    async def disable(self, key: KeyRef) -> None:
        """Reversible: `enable`."""
        await self._turn(key, "Inactive")

    async def enable(self, key: KeyRef) -> None:
        """As before `disable`."""
        await self._turn(key, "Active")

    async def _turn(self, key: KeyRef, status: str) -> None:
        given = {"ServiceSpecificCredentialId": key.id, "Status": status}
        self._there(await self.iam.call("UpdateServiceSpecificCredential", given), key)


async def _nobody() -> Mapping[bytes, bytes]:
    """Bedrock itself is asked with keys under test alone."""
    return {}


def _key(data: Mapping[str, Any]) -> KeyRef:
    if data.get("ServiceName") != _SERVICE["ServiceName"]:
        raise UnreadableError
    ends = data.get("ExpirationDate")
    return KeyRef(
        id=plain_id(data.get("ServiceSpecificCredentialId")),
        name="",
        owner=plain_id(data.get("UserName")),
        created_at=moment(data.get("CreateDate")),
        expires_at=None if ends is None else moment(ends),
    )
