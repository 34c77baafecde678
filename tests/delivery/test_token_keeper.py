"""Tokens of a supervised program: when they are renewed, by a file or by a restart, and what is done when they are not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.delivery.token_keeper import Renewal, TokenKeeper
from keyturn.delivery.turns import Turn
from keyturn.errors import DeniedError, KeyturnError, RollFailedError, UnavailableError
from keyturn.model import HeldToken
from tests.delivery.test_supervisor import traces
from tests.delivery.token_scene import Mint

RESTART = timedelta(seconds=453)
DOWN = UnavailableError("the token endpoint is down")


class Member:
    """A supervisor's tokens. `failure`: what renewing raises. `busy`: a roll is under way. `files`: they can go."""

    def __init__(self, files: bool) -> None:
        self.tokens: Mapping[str, HeldToken] = {}
        self.moves: list[set[str]] = []
        self.failure: KeyturnError | None = None
        self.busy = False
        self.files = files
        self.withdrawn: list[str] = []

    async def renew(self, tokens: Mapping[str, HeldToken]) -> bool:
        if self.busy:
            return False
        self.moves.append(set(tokens))
        if self.failure is not None:
            raise self.failure
        self.tokens = {**self.tokens, **tokens}
        return True

    def withdraw(self, name: str) -> bool:
        self.withdrawn.append(name)
        return self.files


class Scene:
    """A member with one lease or more, whose tokens it has already. Everything reads one clock."""

    def __init__(self, *lives: float, restart: timedelta | None = None, turn: Turn | None = None, chance: float = 0) -> None:
        self.now = datetime(2026, 11, 29, 17, 45, tzinfo=UTC)
        self.mints = {f"lease-{n}": Mint(self.now, timedelta(seconds=life)) for n, life in enumerate(lives)}
        self.member = Member(files=restart is None)
        renewal = Renewal(turn or Turn(), lambda: self.now, self.no_pause, lambda: chance)
        variables = [mint.variable(name, name.upper()) for name, mint in self.mints.items()]
        self.keeper = TokenKeeper(variables, self.member, restart, renewal)

    @staticmethod
    async def no_pause(seconds: float) -> None:
        raise AssertionError("nobody waits here")

    async def begin(self) -> None:
        self.member.tokens = {name: await mint.token() for name, mint in self.mints.items()}
        await self.keeper.step()

    async def after(self, seconds: float, every: float = 5) -> None:
        """Let so much time go by, with a step now and then."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=every))
            for mint in self.mints.values():
                mint.now = self.now
            await self.keeper.step()

    @property
    def mint(self) -> Mint:
        return self.mints["lease-0"]

    @property
    def told(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.keeper.told()["lease-0"]
        return found


async def test_a_file_is_replaced_when_its_token_is_due_and_no_other() -> None:
    scene = Scene(3600, 43200)
    await scene.begin()
    await scene.after(2395)
    assert scene.member.moves == []
    await scene.after(10)
    assert scene.member.moves == [{"lease-0"}]
    assert datetime.fromisoformat(scene.told["refresh"]) == scene.mint.made[-1].due
    await scene.after(12 * 3600)
    assert max(len(each.made) for each in scene.mints.values()) < 25


async def test_a_restart_is_in_time_for_a_second_one_and_brings_every_token_along() -> None:
    scene = Scene(1000, 43200, restart=RESTART)
    await scene.begin()
    await scene.after(515)
    assert scene.member.moves == []
    await scene.after(10)
    assert scene.member.moves == [{"lease-0", "lease-1"}], "a restart may take all that is left"
    long = Scene(3600, restart=RESTART)
    await long.begin()
    await long.after(2395)
    assert long.member.moves == []
    await long.after(10)
    assert len(long.member.moves) == 1


async def test_a_life_that_is_shorter_than_a_restart_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    await Scene(300, restart=RESTART).begin()
    assert "use --deliver file" in caplog.text


async def test_members_are_spread_and_never_late() -> None:
    scene = Scene(3600, restart=RESTART, chance=1)
    await scene.begin()
    await scene.after(2155)
    assert scene.member.moves == []
    await scene.after(10)
    assert len(scene.member.moves) == 1


async def test_an_outage_is_tried_through_with_longer_and_longer_pauses(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(3600)
    await scene.begin()
    scene.mint.failure = DOWN
    await scene.after(2700, every=1)
    assert scene.told["failure"] == str(DOWN)
    assert caplog.text.count("no new token of lease-0") == 1
    scene.mint.failure = None
    await scene.after(70, every=1)
    assert scene.member.moves == [{"lease-0"}]
    assert scene.told["failure"] == ""


async def test_a_token_that_has_ended_is_taken_away_and_its_successor_is_put(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scene = Scene(3600)
    await scene.begin()
    scene.mint.failure = DeniedError("not for you")
    await scene.after(3569)
    assert scene.member.withdrawn == []
    await scene.after(600)
    assert scene.member.withdrawn == ["lease-0"], "once"
    assert "has ended and was taken away" in caplog.text
    scene.mint.failure = None
    await scene.after(70)
    assert scene.member.moves == [{"lease-0"}]
    assert traces(f"{caplog.text} {scene.keeper.told()}", [each.material for each in scene.mint.made]) == []


async def test_a_program_that_is_being_rolled_is_renewed_afterwards() -> None:
    scene = Scene(3600, restart=RESTART)
    await scene.begin()
    scene.member.busy = True
    await scene.after(2450)
    assert scene.member.moves == []
    scene.member.busy = False
    await scene.after(10)
    assert len(scene.member.moves) == 1


async def test_a_roll_that_brought_a_new_token_along_makes_the_restart_needless() -> None:
    scene = Scene(3600, restart=RESTART)
    await scene.begin()
    await scene.after(2300)
    scene.member.tokens = {"lease-0": await scene.mint.token()}
    await scene.after(2300)
    assert scene.member.moves == []


async def test_a_restart_that_failed_is_not_repeated_at_once() -> None:
    scene = Scene(3600, restart=RESTART)
    await scene.begin()
    scene.member.failure = RollFailedError("it did not come up")
    await scene.after(2400 + 290)
    assert len(scene.member.moves) == 1
    assert "did not come up" in scene.told["failure"]
    scene.member.failure = None
    await scene.after(60)
    assert len(scene.member.moves) == 2


async def test_the_same_token_again_restarts_nothing() -> None:
    scene = Scene(3600, restart=RESTART)
    await scene.begin()
    scene.mint.same = True
    await scene.after(3000)
    assert scene.member.moves == []
    assert 2 <= len(scene.mint.made) < 10
    scene.mint.same = False
    await scene.after(300)
    assert len(scene.member.moves) == 1


async def test_a_program_that_does_not_serve_has_no_tokens_to_be_renewed() -> None:
    scene = Scene(3600)
    await scene.keeper.step()
    assert (scene.keeper.told(), scene.mint.made) == ({}, [])
