"""What keyturn status, plan and doctor say of leases: what each member has, and whether a token is given at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from keyturn import durations
from keyturn.assembly import Adapters
from keyturn.config import Config
from keyturn.errors import KeyturnError
from keyturn.fleets.supervisor_answers import SERVING, Leased
from keyturn.model import Finding
from keyturn.parts import Part
from keyturn.registry import adapter_class

_RESTART = "start its `keyturn exec`, or its program, again with this keyturn.yaml"


@dataclass(frozen=True, slots=True)
class Had:
    """What one member has of a lease. `problem`: why that is not known, or that it has none."""

    member: str
    token: Leased | None
    problem: str = ""

    @property
    def is_well(self) -> bool:
        return self.token is not None and not self.token.failure


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """One lease, and every member that is to have it."""

    name: str
    kind: str
    variable: str
    had: Sequence[Had]

    @property
    def is_well(self) -> bool:
        return all(each.is_well for each in self.had)


async def leases_seen(config: Config, names: Sequence[str]) -> list[LeaseSeen]:
    """Asks every member of the leases' proxies, all at once."""
    adapters = Adapters(config)
    try:
        return list(await asyncio.gather(*(_seen(adapters, name, config.leases[name]) for name in names)))
    finally:
        await adapters.aclose()


async def _seen(adapters: Adapters, name: str, part: Part) -> LeaseSeen:
    settings: Any = part.settings
    had = await asyncio.gather(*(_of_proxy(adapters, name, proxy) for proxy in settings.proxies))
    return LeaseSeen(name, part.kind, settings.env, [each for some in had for each in some])


async def _of_proxy(adapters: Adapters, name: str, proxy: str) -> list[Had]:
    fleet: Any = adapters.fleet(proxy)

    async def of(member: Any) -> Had:
        where = f"{proxy}/{member.name}"
        try:
            status = await fleet.look(member)
        except KeyturnError as error:
            return Had(where, None, error.message)
        token = status.leases.get(name)
        without = "it has no such lease" if status.state == SERVING else f"it is {status.state}"
        return Had(where, token, "" if token else without)

    if not hasattr(fleet, "look"):
        return [Had(proxy, None, "its kind of proxies does not tell of leases")]
    return list(await asyncio.gather(*(of(member) for member in await fleet.members())))


def leases_table(found: Sequence[LeaseSeen]) -> Table:
    """One row for each member."""
    table = Table(Column("lease", no_wrap=True), "kind", "variable", "member", "ends", "next token", "last failure")
    for lease in found:
        for each in lease.had:
            told = ("-", "-") if each.token is None else (_clock(each.token.ends), _clock(each.token.refresh))
            failure = each.problem if each.token is None else each.token.failure or "-"
            table.add_row(lease.name, lease.kind, lease.variable, each.member, *told, escape(failure))
    return table


def lease_facts(seen: LeaseSeen) -> dict[str, Any]:
    """For a script."""
    return {
        "lease": seen.kind,
        "variable": seen.variable,
        "members": {
            each.member: {
                "ends": each.token.ends if each.token else None,
                "refresh": each.token.refresh if each.token else None,
                "failure": each.token.failure if each.token else each.problem,
            }
            for each in seen.had
        },
    }


def lease_plan(name: str, part: Part) -> tuple[list[dict[str, str]], list[str]]:
    """What is called for a token and how it reaches the members, and what is to be known of it."""
    settings: Any = part.settings
    call, permission = adapter_class("leases", part.kind).CALLS["token"]
    rows = [{"step": "token", "where": name, "call": call, "permission": permission}]
    for proxy in settings.proxies:
        how = "by each member itself: its file is replaced, or it is restarted in its turn; a key ring swaps it"
        rows.append(
            {"step": "renew", "where": proxy, "call": how, "permission": "the identity above, where the members run"}
        )
    when = "after two thirds of a token's life"
    if settings.refresh_before is not None:
        when = f"{durations.text(settings.refresh_before)} before a token's end, and never before half of its life"
    left = durations.text(settings.least_left)
    return rows, [
        f"a new token is fetched {when}; a key ring gives out none with less than {left} left",
        f"LiteLLM reads ${settings.env}; nothing is stored, rotated or revoked: a token that leaks lives until its end",
    ]


async def lease_findings(config: Config) -> list[tuple[str, Finding]]:
    """For doctor: whether this machine is given a token, and what the members have."""
    adapters = Adapters(config)
    try:
        given = await asyncio.gather(*(_tried(adapters, name) for name in config.leases))
    finally:
        await adapters.aclose()
    found = list(zip(config.leases, given, strict=True))
    for seen in await leases_seen(config, list(config.leases)):
        found += [(seen.name, finding) for finding in _of_members(seen)]
    return found


async def _tried(adapters: Adapters, name: str) -> Finding:
    what = "a token is given"
    try:
        held = await adapters.lease(name).token()
    except KeyturnError as error:
        return Finding(what, False, error.message, error.remedy)
    return Finding(what, True, f"one that lives {durations.text(held.ends - held.asked)}, to this machine")


def _of_members(seen: LeaseSeen) -> Iterator[Finding]:
    for each in seen.had:
        what = f"{each.member}: token"
        if each.token is None:
            yield Finding(what, False, each.problem, _RESTART)
        elif each.token.failure:
            yield Finding(what, False, f"until {_clock(each.token.ends)}: {each.token.failure}", "see the member's log")
        else:
            yield Finding(what, True, f"until {_clock(each.token.ends)}, the next one at {_clock(each.token.refresh)}")


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
