"""The report of an incident, and the requests that failed meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

import keyturn.requests_meanwhile
from keyturn.errors import UnavailableError
from keyturn.incident_report import Account, page
from keyturn.model import Member
from keyturn.requests_meanwhile import RequestsMeanwhile, watched
from keyturn.traffic import Counted

CALLED = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


class Proxies:
    """A fleet and its counters. `tells`: what each member tells; None: it does not."""

    def __init__(self, **tells: Counted | None) -> None:
        self.tells = tells

    async def members(self) -> list[Member]:
        return [Member(name, "") for name in self.tells]

    async def counted(self, member: Member) -> Counted:
        if (told := self.tells[member.name]) is None:
            raise UnavailableError("it is down")
        return told


def assembly(proxies: Proxies) -> Any:
    return SimpleNamespace(fleets={"prod": proxies}, traffic={"prod": proxies})


async def test_what_failed_is_counted_over_a_restart_and_what_cannot_be_read_is_said() -> None:
    proxies = Proxies(one=Counted(1000, 50), two=Counted(500, 5), mute=None)
    c, found = assembly(proxies), RequestsMeanwhile(is_known=True)
    await found.look(c)
    assert str(found) == "0 of 0 failed; not known of prod/mute"
    proxies.tells |= {"one": Counted(1010, 53), "two": None}
    await found.look(c)
    proxies.tells |= {"one": Counted(4, 1), "two": Counted(503, 5), "new": Counted(7, 2)}  # one was started anew
    await found.look(c)
    assert str(found) == "6 of 24 failed; not known of prod/mute"


async def test_who_tells_late_is_counted_from_then_on() -> None:
    proxies = Proxies(mute=None)
    c, found = assembly(proxies), RequestsMeanwhile(is_known=True)
    for tells in (None, Counted(9000, 900), Counted(9001, 901)):
        proxies.tells["mute"] = tells
        await found.look(c)
    assert str(found) == "1 of 1 failed"


async def test_they_are_looked_at_beside_the_work_and_once_more_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyturn.requests_meanwhile, "LOOK_EVERY", 3600.0)
    proxies = Proxies(one=Counted(10, 0))
    async with watched(assembly(proxies)) as found:
        for _ in range(20):
            await asyncio.sleep(0)
        proxies.tells["one"] = Counted(12, 2)
    assert str(found) == "2 of 2 failed"


async def test_without_counters_it_is_not_known() -> None:
    none: Any = SimpleNamespace(fleets={}, traffic={})
    async with watched(none) as found:
        pass
    assert str(found).startswith("not known")


def test_the_page_has_what_is_not_over_first_and_says_what_was_not_seen() -> None:
    done = Account("done", CALLED, True, "rotated, old key refused", "revoked, and refused by the provider")
    done.promoted_at, done.refused_at = CALLED + timedelta(seconds=9), CALLED + timedelta(seconds=2.5)
    stuck = Account("stuck", CALLED, False, "stopped, not replaced", "the vault is sealed")
    lines = page([done, stuck]).splitlines()
    assert "1 of 2: the leaked key is refused by its provider." in lines
    rows = [line for line in lines if line.startswith(("| done", "| stuck"))]
    assert [row.split(" | ")[0] for row in rows] == ["| stuck", "| done"]
    assert "not seen" in rows[0] and "prove_first" in rows[0] and "not known" in rows[0]
    assert "revoke_first" in rows[1] and "2.5 s" in rows[1]
