"""What keys of an IAM user have in common, of whatever kind: two at most, and no names.

**Names.** IAM gives a key no name, so it stands in a tag of the user, as AWS's console writes down an access key's
description (aws/aws-cli issue 7611): the tag's key is the key's id, its value the description.

**A create whose answer was lost** has told no id. So before each create another tag says what is about to be made: when,
under which label, and which keys were there already. A key that has no name of its own, was not there then, and was made
within minutes of it, is the one. The next create writes that down for good, before it says anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from pydantic import Field

from keyturn.aws.settings import AWSLogin
from keyturn.errors import KeyturnError, NotFoundError, PermanentError, ThrottledError, UnavailableError
from keyturn.json_object import UnreadableError, has_half_a_character
from keyturn.key_shapes import masked
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.aws_iam import Answer, IamApi
from keyturn.providers.aws_permissions import simulated
from keyturn.providers.permissions import Rights
from keyturn.providers.vendor import Vendor, VendorSettings

MOST = 2  # keys of a kind: for Bedrock by CreateServiceSpecificCredential's page, for access keys by IAM's quotas
_INTENT = "keyturn:creating"
_SKEW = timedelta(minutes=5)  # between AWS's clock and ours, and for a create to arrive


@dataclass(frozen=True, slots=True)
class Intent:
    """What a create was about to do."""

    at: datetime
    label: str
    there: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Intent | None:
        at, _, rest = text.partition(" ")
        label, _, there = rest.partition(" ")
        if not label or not at.isdigit() or len(at) > 10:
            return None
        return cls(datetime.fromtimestamp(int(at), UTC), label, frozenset(there.split()))

    def __str__(self) -> str:
        return " ".join((str(int(self.at.timestamp())), self.label, *sorted(self.there)))

    def is_about(self, key: KeyRef, timeout: timedelta) -> bool:
        made = key.created_at
        return made is not None and key.id not in self.there and self.at - _SKEW <= made <= self.at + timeout + _SKEW


class UserSettings(VendorSettings, AWSLogin):
    """`user_name`: the IAM user whose keys are turned, best one that has no others. `endpoint_url`: IAM's."""

    user_name: str = Field(pattern=r"^[\w+=,.@-]{1,128}$")


class IamUser(Vendor):
    """A vendor whose keys are those of an IAM user. A kind says how one is made, listed, changed and deleted."""

    KIND: ClassVar[str]  # of the intent: two kinds of keys of one user do not overwrite each other's
    MAKE: ClassVar[str]

    def __init__(self, settings: Any, *rest: Any) -> None:
        super().__init__(settings, *rest)
        self.iam = IamApi(settings, settings.user_name, self._resolve)

    async def _granted(self) -> Rights:
        return await simulated(self.iam, self.settings.role_arn, self.FACTS)

    def _nameless(self, answer: Answer) -> CreatedKey:
        """From the answer to a create. UnreadableError."""
        raise NotImplementedError

    async def _listed_keys(self) -> Sequence[KeyRef]:
        """Every key, without its name. UnreadableError."""
        raise NotImplementedError

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says."""
        keys, tags = await self._nameless_keys(), await self._tags()
        await self._write_down(keys, tags)
        if len(keys) >= MOST:
            raise PermanentError(
                f"the user {self.settings.user_name} has {len(keys)} keys, and AWS allows {MOST}: nothing was created",
                remedy="delete the one that is not needed",
            )
        await self._tag(self._intent, str(Intent(self._now(), label, frozenset(key.id for key in keys))))
        try:
            made: CreatedKey = await self.iam.make(self.MAKE, self._nameless, self._made_with(expires_in))
        except (PermanentError, ThrottledError):
            with suppress(KeyturnError):
                await self._untag(self._intent)
            raise
        with suppress(KeyturnError):  # until then the intent names it: no reason to lose the key
            await self._tag(self._tag_of(made.ref.id), label)
            await self._untag(self._intent)
        return replace(made, ref=replace(made.ref, name=label))

    def _made_with(self, expires_in: timedelta | None) -> Mapping[str, Any]:
        """The arguments of a create."""
        return {}

    async def _keys(self) -> Sequence[KeyRef]:
        keys = await self._nameless_keys()
        names = _names(keys, tags := await self._tags(), self._intent, self.settings.timeout, self._tag_of)
        return [replace(key, name=masked(names.get(key.id) or tags.get(self._tag_of(key.id), ""))) for key in keys]

    async def _delete(self, key: KeyRef) -> bool:
        gone = await self._delete_by_id(key.id)
        with suppress(KeyturnError):
            await self._untag(self._tag_of(key.id))
        return gone

    async def _delete_by_id(self, id: str) -> bool:
        raise NotImplementedError

    def _tag_of(self, id: str) -> str:
        return id

    def _there(self, answer: Answer | None, key: KeyRef) -> None:
        """NotFoundError where AWS says that there is no such key."""
        if answer is None:
            raise NotFoundError(f"{self.FACTS.vendor} has no key {key.id}")

    @property
    def _intent(self) -> str:
        return f"{_INTENT}:{self.KIND}"

    async def _nameless_keys(self) -> Sequence[KeyRef]:
        try:
            return await self._listed_keys()
        except UnreadableError:
            raise UnavailableError("what answers is not IAM", remedy="look at endpoint_url, and at proxies") from None

    async def _write_down(self, keys: Sequence[KeyRef], tags: Mapping[str, str]) -> None:
        """What the last intent tells, before it is overwritten."""
        for id, label in _names(keys, tags, self._intent, self.settings.timeout, self._tag_of).items():
            await self._tag(self._tag_of(id), label)

    async def _tags(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for tag in await self.iam.pages("ListUserTags", "Tags"):
            name, value = tag.get("Key"), tag.get("Value")
            if not isinstance(name, str) or not isinstance(value, str) or has_half_a_character(name + value):
                raise UnavailableError("what answers is not IAM", remedy="look at endpoint_url, and at proxies")
            found[name] = value
        return found

    async def _tag(self, name: str, value: str) -> None:
        await self.iam.call("TagUser", {"Tags": [{"Key": name, "Value": value}]})

    async def _untag(self, name: str) -> None:
        await self.iam.call("UntagUser", {"TagKeys": [name]})

    async def aclose(self) -> None:
        await super().aclose()
        await self.iam.aclose()


def _names(
    keys: Sequence[KeyRef], tags: Mapping[str, str], intent_tag: str, timeout: timedelta, tag_of: Any
) -> Mapping[str, str]:
    """id -> label of the keys that have no name of their own, and that the intent is about."""
    intent = Intent.parse(tags.get(intent_tag, ""))
    if intent is None:
        return {}
    return {key.id: intent.label for key in keys if tag_of(key.id) not in tags and intent.is_about(key, timeout)}
