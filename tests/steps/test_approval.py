"""A person is asked before an old key is ended: nothing waits for them, nothing forgets the question, and silence is a yes
only where keyturn.yaml says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest
from pydantic import ValidationError

import flows.approve
import flows.retire
from flows.outcome import Outcome, Result
from flows.swept import State
from keyturn.errors import ConflictError, NotFoundError, UnavailableError
from keyturn.journal import Answered, Journal
from keyturn.settings import ApprovalSettings
from keyturn.testing.world import World
from tests.steps import plain_flows
from tests.steps.plain_flows import approve, respond, retire, rotate, sweep
from tests.steps.scene import IN_PLACE, Scene


@pytest.fixture(autouse=True)
def _nothing_asked() -> Iterator[None]:
    plain_flows.asked_in_prefect.clear()
    yield


def asking(world: World, then: str = "revoke", *when: str, timeout: str = "15m") -> World:
    approval = ApprovalSettings.model_validate({"when": when or ("incident",), "timeout": timeout, "then": then})
    world.settings = world.settings.model_copy(update={"approval": approval})
    return world


async def leaked(world: World, **how: Any) -> Outcome:
    world.clock.forward(seconds=2)
    return await respond(world.worker(), world.clock.now(), **how)


async def journal(world: World) -> Journal:
    return Journal.parse(await world.store.annotations(world.secret))


async def in_service(world: World) -> str:
    return (await world.store.current(world.secret)).version.fingerprint


def first_lives(world: World) -> bool:
    return world.provider.accepts(world.first_key.material)


# In an incident.


async def test_the_new_key_is_served_while_the_leaked_one_waits_for_an_answer() -> None:
    world = asking(await World.make())
    outcome = await leaked(world)
    assert outcome.result is Result.PENDING and "a person is asked" in outcome.sentence
    assert first_lives(world) and await in_service(world) != world.first_key.material.fingerprint()
    assert set(plain_flows.asked_in_prefect) == {world.first_key.material.fingerprint()}
    assert (await approve(world.worker(), "revoke")).result is Result.RETIRED
    assert not first_lives(world)
    noted = await journal(world)
    assert noted.leaked is None and noted.answered is None and not noted.failures


@pytest.mark.parametrize("first", [False, True], ids=["prove_first", "revoke_first"])
@pytest.mark.parametrize("then", ["revoke", "keep"])
async def test_without_an_answer_the_setting_decides_and_not_before_its_time(then: str, first: bool) -> None:
    world = asking(await World.make(), then)
    await leaked(world, first=first)
    world.clock.forward(minutes=14)
    assert (await sweep(world.worker())).state is State.WAITING
    assert first_lives(world)
    world.clock.forward(minutes=2)
    row = await sweep(world.worker())
    assert first_lives(world) == (then == "keep")
    assert row.state is (State.BY_HAND if then == "keep" else State.DONE)
    if then == "keep":
        world.clock.forward(days=3)
        assert (await sweep(world.worker())).state is State.BY_HAND and first_lives(world)
        await approve(world.worker(), "revoke")
        assert not first_lives(world)


async def test_a_no_outlasts_the_time_until_a_person_says_yes() -> None:
    world = asking(await World.make(), "revoke")
    await leaked(world)
    await approve(world.worker(), "keep")
    world.clock.forward(days=1)
    assert (await sweep(world.worker())).state is State.BY_HAND
    assert first_lives(world)
    await approve(world.worker(), "revoke")
    assert not first_lives(world)


async def test_nobody_is_asked_where_it_is_not_configured() -> None:
    world = asking(await World.make(), "keep", "rotation")
    assert (await leaked(world)).result is Result.RETIRED
    world = await World.make()
    assert (await leaked(world)).result is Result.RETIRED
    assert not plain_flows.asked_in_prefect


# revoke_first: the outage is what is asked about.


async def test_nothing_is_revoked_first_before_somebody_said_so() -> None:
    world = asking(await World.make(), "keep")
    world.provider.fail["create"] = UnavailableError("down")
    await leaked(world, first=True)
    for _ in range(3):
        world.clock.forward(minutes=20)
        await sweep(world.worker())
    assert first_lives(world), "it is in service, and nothing else is there"
    await approve(world.worker(), "revoke")
    assert not first_lives(world), "also where it has no successor yet"
    world.provider.fail.clear()
    world.clock.forward(hours=7)
    assert (await sweep(world.worker())).state is State.DONE


async def test_without_an_answer_it_is_revoked_first_where_that_is_configured() -> None:
    world = asking(await World.make(), "revoke")
    world.provider.fail["create"] = UnavailableError("down")
    await leaked(world, first=True)
    assert first_lives(world)
    world.clock.forward(minutes=16)
    await sweep(world.worker())
    assert not first_lives(world)


async def test_a_yes_while_members_are_rolled_ends_the_key_at_once() -> None:
    world = asking(await World.make(), "keep")
    roll, alive = world.fleet.roll, list[bool]()

    async def answered_meanwhile(*args: Any, **kwargs: Any) -> Any:
        if not alive:
            await approve(world.worker(), "revoke")
            alive.append(first_lives(world))
        return await roll(*args, **kwargs)

    world.fleet.roll = answered_meanwhile  # type: ignore[method-assign]
    outcome = await leaked(world, first=True)
    assert alive == [False]
    assert outcome.result is Result.RETIRED, outcome


async def test_a_yes_ends_the_key_first_whatever_else_cannot_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    world = asking(await World.make(), "keep")
    world.provider.fail["create"] = UnavailableError("down")
    await leaked(world, first=True)

    async def unseen(*_: Any) -> NoReturn:
        raise UnavailableError("down")

    monkeypatch.setattr(flows.approve, "observe", unseen)
    with pytest.raises(UnavailableError):
        await approve(world.worker(), "revoke")
    assert not first_lives(world)


# What dies, and what is said twice.


async def test_a_run_that_dies_once_the_leak_is_noted_loses_no_question() -> None:
    world = asking(await World.make(), "keep")
    world.provider.fail["create"] = UnavailableError("down")
    await leaked(world)
    plain_flows.asked_in_prefect.clear()
    world.provider.fail.clear()
    world.clock.forward(minutes=6)
    await sweep(world.worker())
    assert first_lives(world) and await in_service(world) != world.first_key.material.fingerprint()
    plain_flows.asked_in_prefect.clear()
    world.clock.forward(minutes=5)
    await sweep(world.worker())
    assert plain_flows.asked_in_prefect == [world.first_key.material.fingerprint()], "asked again by whoever comes by"
    assert first_lives(world)


async def test_the_same_call_again_is_no_answer() -> None:
    world = asking(await World.make(), "keep")
    world.clock.forward(seconds=1)
    at = world.clock.now()
    for _ in range(3):
        world.clock.forward(minutes=1)
        assert (await respond(world.worker(), at)).result is Result.PENDING
    assert first_lives(world) and world.provider.made == 2


async def test_two_answers_are_one_and_a_yes_is_not_taken_back() -> None:
    world = asking(await World.make(), "keep")
    world.fleet.bad.add("two")  # so that nothing can be revoked yet
    await leaked(world)
    for _ in range(2):
        assert (await approve(world.worker(), "revoke")).result is Result.ANSWERED
    with pytest.raises(ConflictError, match="was yes"):
        await approve(world.worker(), "keep")
    answered = (await journal(world)).answered
    assert answered is not None and answered.revoke
    world.fleet.bad.clear()
    world.clock.forward(minutes=10)
    await sweep(world.worker())
    assert not first_lives(world)
    with pytest.raises(NotFoundError, match="waits for an answer"):
        await approve(world.worker(), "revoke")


async def test_an_answer_to_an_old_question_ends_no_other_key() -> None:
    world = asking(await World.make(), "keep")
    await leaked(world)
    old = world.first_key.material.fingerprint()
    await approve(world.worker(), "revoke", old)
    now = await in_service(world)
    await leaked(world)
    with pytest.raises(NotFoundError, match="not that one any more"):
        await approve(world.worker(), "revoke", old)
    assert (await journal(world)).leaked_as(now) is not None
    assert len(world.provider.keys) == 2, "the second leak waits for an answer of its own"


async def test_what_was_in_service_at_the_call_is_asked_about_although_another_rotation_came_between() -> None:
    world = asking(await World.make(), "keep")
    world.clock.forward(seconds=1)
    called = world.clock.now()
    world.clock.forward(seconds=1)
    await rotate(world.worker(), world.clock.now())
    assert (await respond(world.worker(), called)).result is Result.PENDING
    assert first_lives(world)


async def test_an_old_key_that_has_leaked_waits_for_its_answer_too() -> None:
    world = asking(await World.make(), "keep")
    await rotate(world.worker(), world.clock.now())
    fingerprint = world.first_key.material.fingerprint()
    for first in (False, True):
        assert (await leaked(world, first=first, fingerprint=fingerprint)).result is Result.PENDING
    assert first_lives(world)
    await approve(world.worker(), "revoke")
    assert not first_lives(world)


async def test_a_no_about_an_old_key_holds_when_the_key_in_service_leaks_too() -> None:
    world = asking(await World.make(), "keep")
    await rotate(world.worker(), world.clock.now())
    await leaked(world, fingerprint=world.first_key.material.fingerprint())
    await approve(world.worker(), "keep")
    await leaked(world)
    assert first_lives(world) and len(world.provider.keys) == 3


async def test_a_no_while_the_fleets_are_waited_for_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    world = asking(await World.make(), "revoke")
    await leaked(world)
    world.clock.forward(minutes=16)

    @asynccontextmanager
    async def waited_for(_: Any) -> AsyncIterator[None]:
        await approve(world.worker(), "keep")
        yield

    monkeypatch.setattr(flows.retire, "beside_others_on", waited_for)
    assert (await sweep(world.worker())).state is State.BY_HAND
    assert first_lives(world)


# In a rotation.


async def test_the_overlap_is_over_and_the_old_key_waits_for_an_answer() -> None:
    world = asking(await World.make(overlap="1h"), "keep", "rotation")
    await rotate(world.worker(), world.clock.now())
    assert plain_flows.asked_in_prefect == [world.first_key.material.fingerprint()], "with the overlap to answer in"
    world.clock.forward(minutes=61)
    assert (await retire(world.worker(), world.clock.now())).result is Result.PENDING
    assert (await sweep(world.worker())).state is State.WAITING and first_lives(world)
    world.clock.forward(minutes=15)
    assert (await sweep(world.worker())).state is State.BY_HAND and first_lives(world)
    await approve(world.worker(), "revoke")
    assert not first_lives(world)


async def test_a_yes_within_the_overlap_does_not_shorten_it() -> None:
    world = asking(await World.make(overlap="1h"), "keep", "rotation")
    await rotate(world.worker(), world.clock.now())
    assert (await approve(world.worker(), "revoke")).result is Result.ANSWERED
    assert first_lives(world)
    world.clock.forward(minutes=61)
    assert (await sweep(world.worker())).state is State.DONE
    assert not first_lives(world)


async def test_who_ends_it_by_hand_is_not_asked_once_more() -> None:
    world = asking(await World.make(), "keep", "incident", "rotation")
    await leaked(world)
    assert (await retire(world.worker(), world.clock.now(), now=True)).result is Result.RETIRED
    assert not first_lives(world)


async def test_a_text_that_would_end_by_itself_is_not_turned_in_place() -> None:
    async with Scene.of("asked", IN_PLACE) as scene:
        world = asking(scene.world, "keep", "rotation")
        held = await in_service(world)
        made = world.provider.made
        await rotate(world.worker(), world.clock.now())
        world.clock.forward(days=2)
        assert world.provider.made == made + 1, "a key of its own"
        assert (await journal(world)).turned is None and held != await in_service(world)


# The settings.


@pytest.mark.parametrize("left_out", ["when", "timeout", "then"])
def test_nothing_of_it_has_a_default(left_out: str) -> None:
    whole = {"when": ["incident"], "timeout": "15m", "then": "keep"}
    ApprovalSettings.model_validate(whole)
    with pytest.raises(ValidationError):
        ApprovalSettings.model_validate({name: value for name, value in whole.items() if name != left_out})


def test_the_note_of_an_answer_reads_back() -> None:

    at = datetime(2026, 3, 2, 3, tzinfo=UTC)
    for revoke in (True, False):
        each = Answered(at + timedelta(hours=1), revoke, "0123456789abcdef")
        assert Answered.parse(str(each)) == each
    assert Answered.parse("") is None and Answered.parse("2026-03-02T03:00:00Z") is None
