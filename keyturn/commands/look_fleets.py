"""keyturn doctor, for each fleet: which way of a new key to its proxies disturbs them least, and which one it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any

import httpx

from keyturn.assembly import Adapters
from keyturn.canary.calls import Calls
from keyturn.config import Config
from keyturn.delivery.file_readers import FIRST_VERSION
from keyturn.errors import KeyturnError
from keyturn.fleets.credential_calls import CredentialCalls
from keyturn.material import KeyMaterial
from keyturn.model import Finding, Member
from keyturn.parts import Part
from keyturn.ports import ProxyFleet

_WHAT = "gentlest way to a new key"
_ASKED = timedelta(seconds=15)


class Way(IntEnum):
    """The higher, the less it disturbs."""

    PLATFORM = 0
    SUPERVISOR = 1
    FILE = 2
    CREDENTIALS = 3


_NAMES = {
    Way.PLATFORM: "a roll by what runs the members",
    Way.SUPERVISOR: "a supervisor's restart, drained",
    Way.FILE: "a file that is read at each request",
    Way.CREDENTIALS: "a PATCH of LiteLLM's credentials",
}


_HOW = {
    Way.CREDENTIALS: "keep the keys in its database, and use the kind litellm_credentials: docs/litellm-credentials.md",
    Way.FILE: "start the members with `keyturn exec --control ... --deliver file`, of the kind process: docs/file.md",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One member. `restarts`: whether a roll by its supervisor starts it anew; None: it has none."""

    version: tuple[int, int, int] | None
    has_credentials: bool
    restarts: bool | None

    @property
    def ways(self) -> set[Way]:
        found = {Way.PLATFORM}
        found |= {Way.CREDENTIALS} if self.has_credentials else set()
        reads_files = self.restarts is False or (self.version is not None and self.version >= FIRST_VERSION)
        found |= {Way.FILE} if reads_files else set()
        return found | ({Way.SUPERVISOR} if self.restarts is not None else set())


async def fleet_findings(config: Config) -> list[tuple[str, Finding]]:
    """One line for each fleet of LiteLLM's proxies."""
    adapters = Adapters(config)
    try:
        named = [(name, part) for name, part in config.proxies.items() if not part.is_keyturn]
        found = await asyncio.gather(*(_of(adapters, name, part) for name, part in named))
    finally:
        await adapters.aclose()
    return [(f"proxies {name}", finding) for (name, _), finding in zip(named, found, strict=True)]


async def _of(adapters: Adapters, name: str, part: Part) -> Finding:
    settings: Any = part.settings
    return await gentlest(part, adapters.fleet(name), lambda: adapters.resolve(settings.master_key))


async def gentlest(
    part: Part,
    fleet: ProxyFleet,
    master_key: Callable[[], Awaitable[KeyMaterial]],
    transport: httpx.AsyncBaseTransport | None = None,
) -> Finding:
    """What all members can do, next to what this kind of fleet does. No member is changed."""
    calls, credentials = Calls(master_key, _ASKED, transport), CredentialCalls(master_key, transport)
    try:
        members = await fleet.members()
        seen = await asyncio.gather(*(_see(member, fleet, calls, credentials) for member in members))
    except KeyturnError as error:
        return Finding(_WHAT, None, f"could not be told: {error.message}", error.remedy)
    finally:
        await calls.aclose()
        await credentials.aclose()
    return judge(part.has_database, seen)


async def _see(member: Member, fleet: ProxyFleet, calls: Calls, credentials: CredentialCalls) -> Seen:
    look = getattr(fleet, "look", None)  # where a supervisor, or a key ring, tells of itself
    restarts = None if look is None else getattr(await look(member), "restarts", None)
    has = await credentials.has_database(member) and await credentials.lists(member)
    return Seen(await calls.version(member), has, restarts)


def judge(has_database: bool, seen: Sequence[Seen]) -> Finding:
    """`has_database`: the fleet is of the kind that changes LiteLLM's credentials."""
    can = set.intersection(*(each.ways for each in seen)) if seen else {Way.PLATFORM}
    takes = Way.CREDENTIALS if has_database else _taken(seen)
    if takes not in can:
        return Finding(_WHAT, None, f"{_NAMES[takes]} is what this fleet does, and a member cannot", _HOW[takes])
    best = max(can)
    if takes >= Way.FILE or takes >= best:
        return Finding(_WHAT, True, f"{_NAMES[takes]}, which is what this fleet does: {_reason(takes, seen)}")
    detail = f"{_NAMES[best]}: {_reason(best, seen)}. This fleet takes {_NAMES[takes]}"
    return Finding(_WHAT, None, detail, _HOW[best])


def _taken(seen: Sequence[Seen]) -> Way:
    if any(each.restarts is None for each in seen):
        return Way.PLATFORM
    return Way.SUPERVISOR if any(each.restarts for each in seen) else Way.FILE


def _reason(way: Way, seen: Sequence[Seen]) -> str:
    match way:
        case Way.CREDENTIALS:
            return "each member has a database, and answers /credentials; nothing restarts"
        case Way.FILE:
            return "nothing restarts" if all(each.restarts is False for each in seen) else f"they run {_versions(seen)}"
        case Way.SUPERVISOR:
            return f"LiteLLM reads its keys when it starts ({_versions(seen)}, no database)"
    return "no member has a database or a supervisor, and LiteLLM reads its keys when it starts"


def _versions(seen: Sequence[Seen]) -> str:
    known = sorted({each.version for each in seen if each.version is not None})
    return "LiteLLM " + ", ".join(".".join(map(str, each)) for each in known) if known else "of an unknown version"
