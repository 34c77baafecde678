"""Proxies whose keys are in LiteLLM's own database: a key is changed there, once for all of them, and none restarts.

The member that is asked takes the new key at once, the others when they next read the database (30 s, unless
`proxy_config_reload_interval_seconds` says otherwise). No API tells which key a member has. So keyturn writes a mark beside
the key, in the same call, and reads it back from each member: keyturn.fleets.credential_answers tells why that counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyturn.durations import Duration, text
from keyturn.errors import ConflictError, KeyturnError, MisconfiguredError, RollFailedError
from keyturn.fleets.credential_answers import MARK, Told, WrittenMark
from keyturn.fleets.credential_calls import CredentialCalls, unknown
from keyturn.fleets.credential_findings import agreement, examine
from keyturn.key_parts import Part, parameters
from keyturn.material import KeyMaterial
from keyturn.model import Finding, HeldKey, Member, Stage, VersionRef
from keyturn.references import Address, Resolver, SecretReference

_ASKS_PER_WORKER = 4

Held = Callable[[str], Awaitable[Mapping[Stage, HeldKey]]]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Key:
    """A value that the store holds, as LiteLLM's fields."""

    version: VersionRef
    values: Mapping[str, KeyMaterial]


class LiteLLMCredentials:
    """Members that share LiteLLM's database. Permission needed: their master key, with which the key is written, too.

    `held` reads what the deciding secret of a credential holds; `parts`: of its keys.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("held", "parts")
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "serving": ("GET /credentials/by_name/NAME of each member, and what the deciding secret holds", "the master key"),
        "roll": ("PATCH /credentials/NAME, once for all members, with the key's own fields alone", "the master key"),
    }

    class Settings(BaseModel):
        """`names`: what a credential is called in LiteLLM, where that is not its name in keyturn.yaml.

        `workers`: how many processes a member is (`--num_workers`). Each answers for itself, so it is asked more often.
        `settle`: how long after a write every worker of a member has read the database: more than its
        `proxy_config_reload_interval_seconds`. `roll_timeout` covers one member, `settle` included.
        """

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        members: tuple[Address, ...] = Field(min_length=1)
        master_key: SecretReference
        names: dict[str, str] = {}
        workers: int = Field(default=1, ge=1, le=64)
        settle: Duration = timedelta(seconds=45)
        roll_timeout: Duration = timedelta(minutes=3)
        poll_interval: Duration = timedelta(seconds=2)

        @model_validator(mode="after")
        def _fits_together(self) -> LiteLLMCredentials.Settings:
            if len(set(self.members)) < len(self.members):
                raise ValueError("a member is listed twice")
            if len(set(self.names.values())) < len(self.names):
                raise ValueError("two credentials have the same name in LiteLLM: each needs its own")
            if self.roll_timeout <= self.settle:
                raise ValueError("roll_timeout must be longer than settle, which is a part of it")
            return self

    def __init__(
        self,
        settings: Settings,
        resolve: Resolver,
        held: Held,
        parts: Callable[[str], Sequence[Part]],
        now: Callable[[], datetime] = _utc_now,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.settings = settings
        self._held, self._parts, self._now, self._pause = held, parts, now, pause
        self._calls = CredentialCalls(lambda: resolve(settings.master_key), transport)
        self._members = tuple(Member(urlsplit(url).netloc + urlsplit(url).path, url) for url in settings.members)
        self._writing = asyncio.Lock()

    async def members(self) -> Sequence[Member]:
        return self._members

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        """The version that the member's memory is marked with, once `settle` has passed since it was written.

        None before that; where the mark names no value that the store holds, or stands beside a mask that is certainly
        another key's; and where the member, or the store, cannot be asked.
        """
        try:
            told, keys = await self._workers(member, credential), await self._keys(credential)
        except KeyturnError:
            return None
        served = (key.version for key in keys if all(self._has(each, key) and self._has_settled(each) for each in told))
        return next(served, None)

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        """Write the key, unless a member has it already, and wait until this one serves it. May be repeated, and by two.

        ConflictError: the store has another value as CURRENT. MisconfiguredError: the value is a masked one, or LiteLLM does
        not have the credential. RollFailedError: the member does not take it over within `roll_timeout`.
        """
        key = await self._current(credential, version)
        until, wrote = self._now() + self.settings.roll_timeout, False
        while True:
            told = await self._workers(member, credential)
            if all(self._has(each, key) and self._has_settled(each) for each in told):
                return
            if self._now() >= until:
                break
            wrote = wrote or await self._write_once(member, credential, key)
            await self._pause(self.settings.poll_interval.total_seconds())
        raise RollFailedError(
            f"{member.name} does not serve the new key of {credential} after {text(self.settings.roll_timeout)}: "
            + self._why_not(told, key, wrote),
            remedy="look at its log: does it reach the database, with the same LITELLM_SALT_KEY as the others?",
        )

    async def preflight(self, credential: str) -> Sequence[Finding]:
        name = self._name(credential)
        examined = await asyncio.gather(*(examine(self._calls, member, name) for member in self._members))
        found = [finding for findings, _ in examined for finding in findings]
        return [*found, agreement([told for _, told in examined if told is not None])]

    async def aclose(self) -> None:
        await self._calls.aclose()

    def _name(self, credential: str) -> str:
        return self.settings.names.get(credential, credential)

    async def _keys(self, credential: str) -> list[_Key]:
        found, parts = [], self._parts(credential)
        for each in (await self._held(credential)).values():
            with suppress(MisconfiguredError):  # an older one that is not of these parts is none that LiteLLM could have
                found.append(_Key(each.version, parameters(each.material, parts)))
        return found

    async def _current(self, credential: str, version: VersionRef) -> _Key:
        current = (await self._held(credential)).get(Stage.CURRENT)
        if current is None or current.version != version:
            raise ConflictError(f"the current value of {credential} is another one by now", remedy="run again")
        if current.material.looks_masked():
            raise MisconfiguredError(
                f"the current value of {credential} is a masked key: it would overwrite the real one",
                remedy="somebody wrote into the store what an API shows in place of a key; put the key itself there",
            )
        return _Key(current.version, parameters(current.material, self._parts(credential)))

    def _has(self, told: Told | None, key: _Key) -> bool:
        return (
            told is not None
            and told.mark is not None
            and told.mark.fingerprint == key.version.fingerprint
            and told.may_hold(key.values)
        )

    def _has_settled(self, told: Told | None) -> bool:
        """A mark of the future is a clock that is wrong, and tells nothing."""
        return told is not None and told.mark is not None and self.settings.settle <= self._now() - told.mark.at

    async def _write_once(self, member: Member, credential: str, key: _Key) -> bool:
        """True when the key is written, by whomever; False: not yet, for it is not known who may write it."""
        async with self._writing:
            seen, name = await self._see_all(credential), self._name(credential)
            if not seen:
                raise unknown(member, name)
            if self._is_written(list(seen.values()), key):
                return True
            writer = _writer(member, seen, await self._keys(credential))
            if writer is None:
                return False
            # LiteLLM compares nothing before it writes: so who was held up looks once more, right before.
            await self._current(credential, key.version)
            mark = str(WrittenMark(key.version.fingerprint, self._now()))
            # A PATCH with any metadata replaces all of it in the table, so the rest is sent along.
            await self._calls.write(writer, name, key.values, {**_newest(seen.values()).info, MARK: mark})
            return True

    def _is_written(self, seen: Sequence[Told], key: _Key) -> bool:
        """By the newest mark that any member has: others may be of a time before. One of the future is written anew."""
        newest = max((told.mark.at for told in seen if told.mark), default=None)
        if newest is None or newest > self._now() + self.settings.settle:
            return False
        return any(told.mark is not None and told.mark.at == newest and self._has(told, key) for told in seen)

    async def _see_all(self, credential: str) -> dict[Member, Told]:
        """Of the members that can be asked, and have the credential."""
        asked = (self._calls.read(member, self._name(credential)) for member in self._members)
        found = await asyncio.gather(*asked, return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException) and not isinstance(each, KeyturnError):
                raise each
        return {member: each for member, each in zip(self._members, found, strict=True) if isinstance(each, Told)}

    async def _workers(self, member: Member, credential: str) -> Sequence[Told | None]:
        """What the member tells, asked so often that each of its workers has very likely been asked."""
        asks = 1 if self.settings.workers == 1 else self.settings.workers * _ASKS_PER_WORKER
        return [await self._calls.read(member, self._name(credential)) for _ in range(asks)]

    def _why_not(self, told: Sequence[Told | None], key: _Key, wrote: bool) -> str:
        if not wrote:
            return "nothing was written: the members show different values, and none of them one that the store holds"
        if any(each is None or each.mark is None or each.mark.fingerprint != key.version.fingerprint for each in told):
            return "it, or one of its workers, has not read it from the database"
        if not all(each.may_hold(key.values) for each in told if each is not None):
            return "what it has in place of the key is another text, as of one whose salt key is another"
        return "its mark is younger than `settle`, or of the future: is a clock wrong?"


def _writer(member: Member, seen: Mapping[Member, Told], keys: Sequence[_Key]) -> Member | None:
    """Through whom to write: one that can read what is in the table, this member if it can.

    One whose salt key is another one shows other values; what it wrote, none of the others could read.
    """
    readers = [each for each, told in seen.items() if any(told.may_hold(key.values) for key in keys)]
    if not readers and agreement(list(seen.values())).ok:  # a key that the store never held
        readers = list(seen)
    return member if member in readers else next(iter(readers), None)


def _newest(seen: Iterable[Told]) -> Told:
    return max(seen, key=lambda told: told.mark.at if told.mark else datetime.min.replace(tzinfo=UTC))
