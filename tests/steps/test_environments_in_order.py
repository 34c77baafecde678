"""Staging first, a bake time, then production: what a schedule begins waits, what a person or a leak begins does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest

from flows.outcome import Result
from flows.swept import State
from keyturn.assembly import Assembly
from keyturn.deploy_settings import FollowsSettings
from keyturn.errors import DeniedError, KeyturnError, UnavailableError
from keyturn.journal import Journal
from keyturn.lifecycle import Reason
from keyturn.order import due_first
from keyturn.settings import CredentialSettings
from keyturn.testing.world import World
from tests.steps.plain_flows import respond, rotate, sweep


@dataclass
class Two:
    """The same credential in two environments, each with a world of its own, on clocks that go alike."""

    staging: World
    production: World
    then: str = "wait"
    unread: KeyturnError | None = None
    absent: bool = False

    @classmethod
    async def make(cls, then: str = "wait", age: str = "30d") -> Two:
        """Both were rotated once, and their old keys are gone."""
        two = cls(await World.make(max_age=age, overlap="1h"), await World.make(max_age=age, overlap="1h"), then)
        for world in (two.staging, two.production):
            await rotate(world.worker(), world.clock.now())
        two.forward(hours=2)
        for world in (two.staging, two.production):
            await sweep(world.worker())
        return two

    def forward(self, **by: float) -> None:
        self.staging.clock.forward(**by)
        self.production.clock.moment = self.staging.clock.moment

    def worker(self) -> Assembly:
        """Of production."""
        settings = {"environment": "staging", "bake": "1d", "at_most": "7d", "then": self.then}
        follows = FollowsSettings.model_validate(settings)
        return replace(self.production.worker(), follows=follows, earlier=self._notes)

    async def _notes(self) -> Journal | None:
        if self.unread is not None:
            raise self.unread
        return None if self.absent else await notes(self.staging)

    async def staging_rotates(self) -> None:
        world = self.staging
        outcome = await rotate(world.worker(), world.clock.now())
        assert outcome.result is Result.ROTATED, outcome
        self.forward(seconds=0)


async def notes(world: World) -> Journal:
    return Journal.parse(await world.store.annotations(world.secret))


async def test_production_waits_for_staging_and_for_the_bake_time_and_then_is_rotated_by_the_sweep() -> None:
    two = await Two.make()
    made = two.production.provider.made
    two.forward(days=30)
    row = await sweep(two.worker())
    assert row.state is State.WAITING and "waits for staging: not rotated there since" in row.sentence
    await two.staging_rotates()
    two.forward(hours=23)
    row = await sweep(two.worker())
    assert row.state is State.WAITING and "to stay so until" in row.sentence
    assert two.production.provider.made == made
    two.forward(hours=2)
    assert (await sweep(two.worker())).state is State.DONE
    assert two.production.provider.made == made + 1


async def test_a_rotation_of_staging_counts_once() -> None:
    two = await Two.make()
    two.forward(days=30)
    await two.staging_rotates()
    two.forward(days=2)
    await sweep(two.worker())
    two.forward(hours=2)
    await sweep(two.worker())
    two.forward(days=31)
    row = await sweep(two.worker())
    assert row.state is State.WAITING and "not rotated there since" in row.sentence


async def test_the_run_that_a_schedule_began_waits_too_and_a_persons_does_not() -> None:
    two = await Two.make()
    two.forward(days=31)
    made = two.production.provider.made
    outcome = await rotate(two.worker(), two.production.clock.now(), Reason.SCHEDULED)
    assert outcome.result is Result.NOTHING and "waits for staging" in outcome.sentence
    assert two.production.provider.made == made
    outcome = await rotate(two.worker(), two.production.clock.now())
    assert outcome.result is Result.ROTATED and two.production.provider.made == made + 1


async def test_an_incident_does_not_wait() -> None:
    two = await Two.make()
    two.forward(days=1)
    old = await two.production.store.current(two.production.secret)
    outcome = await respond(two.worker(), two.production.clock.now())
    assert outcome.result is Result.RETIRED
    assert not two.production.provider.accepts(old.material)


async def test_what_stands_half_way_is_finished_and_a_leak_goes_on_by_the_sweep() -> None:
    two = await Two.make()
    two.forward(days=1)
    two.production.fleet.bad.add("two")
    await respond(two.worker(), two.production.clock.now())
    two.production.fleet.bad.clear()
    two.forward(minutes=10)
    assert (await sweep(two.worker())).state is State.DONE


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ({"parked": "5 runs in a row failed: down"}, "parked: 5 runs"),
        ({"failures": 1, "failure": "down"}, "failed there 1 times (down)"),
        ({"back_from": "f" * 16}, "taken back there"),
        ({"proved_at": None}, "not proved yet"),
    ],
)
async def test_what_is_not_well_in_staging_holds_production_up(trouble: dict[str, Any], why: str) -> None:
    two = await Two.make()
    two.forward(days=30)
    await two.staging_rotates()
    two.forward(days=2)
    bad = replace(await notes(two.staging), **trouble)

    async def earlier() -> Journal:
        return bad

    row = await sweep(replace(two.worker(), earlier=earlier))
    assert row.state is State.WAITING and why in row.sentence
    assert (await sweep(two.worker())).state is State.DONE


async def test_notes_that_cannot_be_read_are_no_good_news() -> None:
    two = await Two.make()
    two.unread = DeniedError("may not read")
    two.forward(days=31)
    row = await sweep(two.worker())
    assert row.state is State.WAITING and "cannot be read: may not read" in row.sentence


@pytest.mark.parametrize("then", ["wait", "rotate"])
async def test_after_the_limit_it_is_told_loudly_or_goes_on(then: str) -> None:
    two = await Two.make(then)
    two.staging.provider.fail["create"] = UnavailableError("down")
    two.forward(days=36)
    assert (await sweep(two.worker())).state is State.WAITING
    two.forward(days=2)
    row = await sweep(two.worker())
    assert row.state is (State.HELD_UP if then == "wait" else State.DONE)
    assert row.is_well == (then == "rotate")


async def test_no_key_is_waited_for_to_its_end() -> None:
    two = await Two.make("wait")
    two.staging.provider.fail["create"] = UnavailableError("down")
    two.forward(days=59)  # of 90, after which the key ends by itself
    assert (await sweep(two.worker())).state is State.HELD_UP
    two.forward(days=2)
    assert (await sweep(two.worker())).state is State.DONE


async def test_a_credential_that_staging_does_not_have_waits_for_nothing() -> None:
    two = await Two.make()
    two.absent = True
    two.forward(days=31)
    assert (await sweep(two.worker())).state is State.DONE


def test_since_when_it_is_due_follows_from_the_schedule_and_not_from_the_last_tick() -> None:
    weekly = CredentialSettings.model_validate(
        {
            "provider": "openai",
            "secrets": [{"store": "memory", "path": "a"}],
            "proxies": ["local"],
            "schedule": "0 3 * * 1",
        }
    )
    rotated = datetime.fromisoformat("2026-03-02T03:10:00+00:00")  # a Monday
    assert due_first("a", weekly, Journal(promoted_at=rotated)) == datetime.fromisoformat("2026-03-09T03:00:00+00:00")
    assert due_first("a", weekly, Journal()) is None


async def test_a_look_alone_asks_nothing_there() -> None:
    """Every sweep looks at every credential: the other environment is asked only about what is due."""
    two = await Two.make()
    two.unread = DeniedError("asked")
    assert (await sweep(two.worker())).state is State.QUIET
