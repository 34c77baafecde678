"""What the flows add to the steps: when something is undone, what an incident does not wait for, what fails a run and what
does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectAlreadyExists

import flows.asking
import flows.at_work
import flows.lease
import flows.logged
import flows.retire
import flows.turnstile
from flows.lease import NoLimitError
from flows.outcome import Outcome, Result
from flows.retire import _schedule
from keyturn.errors import DeniedError, KeyturnError, PermanentError, RollFailedError, UnavailableError
from keyturn.file_lock import try_lock
from keyturn.lifecycle import Asked, Reason
from keyturn.model import KeyRef, Stage
from keyturn.steps.observe import begin
from keyturn.testing.explorer import Actor, Fault
from keyturn.testing.world import World, new_key
from tests.steps.plain_flows import retire, rotate
from tests.steps.scene import BLIND, PLAIN, Kind, Scene


async def rotated(world: World, reason: Reason = Reason.MANUAL, overlap: timedelta | None = None) -> Outcome:
    world.clock.forward(seconds=2)
    return await rotate(world.worker(), world.clock.now(), reason, overlap)


def live(world: World) -> int:
    return len(world.provider.keys)


# Incidents.


async def test_an_incident_waits_for_no_overlap() -> None:
    world = await World.make()
    assert (await rotated(world, Reason.INCIDENT)).result is Result.RETIRED
    assert live(world) == 1


async def test_an_incident_has_an_overlap_where_it_is_told_so() -> None:
    world = await World.make()
    assert (await rotated(world, Reason.INCIDENT, timedelta(minutes=5))).result is Result.ROTATED
    assert live(world) == 2


async def test_an_incident_in_an_overlap_leaves_neither_the_old_key_nor_the_one_in_service() -> None:
    world = await World.make()
    await rotated(world)
    leaked = (await world.store.current(world.secret)).material
    assert (await rotated(world, Reason.INCIDENT)).result is Result.RETIRED
    assert live(world) == 1 and not world.provider.accepts(leaked)


async def test_an_incident_replaces_the_key_in_service_although_an_old_one_cannot_be_revoked() -> None:
    world = await World.make()
    await rotated(world)
    leaked = (await world.store.current(world.secret)).material
    world.clock.forward(minutes=10)
    world.provider.used(world.first_key.ref.id)
    await rotated(world, Reason.INCIDENT)
    assert not world.provider.accepts(leaked)
    world.clock.forward(hours=1)
    assert (await retire(world.worker(), world.clock.now())).result in (Result.ROTATED, Result.RETIRED, Result.NOTHING)
    assert live(world) == 1


async def test_an_old_key_that_is_always_in_use_keeps_no_leaked_one_alive() -> None:
    world = await World.make()
    await rotated(world)
    leaked = (await world.store.current(world.secret)).material
    report = world.provider.last_used

    async def with_a_use_just_before(key: KeyRef) -> datetime | None:
        if key.id == world.first_key.ref.id:
            world.clock.forward(seconds=10)
            world.provider.used(key.id)
        return await report(key)

    world.provider.last_used = with_a_use_just_before  # type: ignore[method-assign]
    outcome = await rotated(world, Reason.INCIDENT)
    assert outcome.result is Result.PENDING and "saw the old key used" in outcome.sentence
    assert not world.provider.accepts(leaked) and world.provider.accepts(world.first_key.material)


async def test_an_incident_replaces_a_key_in_service_that_somebody_has_deleted_already() -> None:
    async with Scene.of("promoted, rolled, and dead before it is proved") as scene:
        actor = scene.actor("A")
        actor.start(scene.rotate(actor))
        await actor.until(before="canary local.member")
        for key_id in [key_id for key_id in scene.world.provider.keys if key_id != scene.world.first_key.ref.id]:
            del scene.world.provider.keys[key_id]
        scene.world.fleet.bad |= {"one", "two"}  # nor can anybody go back
        assert isinstance(await actor.end(), RollFailedError)
        scene.world.fleet.bad.clear()
        assert (await rotated(scene.world, Reason.INCIDENT)).result is Result.RETIRED
        assert live(scene.world) == 1


async def test_an_incident_takes_no_promotion_before_the_call_for_its_own() -> None:
    async with Scene.of("dies between the swap and its note; hours later that key leaks") as scene:
        actor = scene.actor("A")
        actor.start(scene.rotate(actor))
        await actor.until(before="store memory.annotate", nth=2)
        leaked = (await scene.world.store.current(scene.world.secret)).material
        await actor.bury()
        scene.world.clock.forward(hours=5)
        assert (await rotated(scene.world, Reason.INCIDENT)).result is Result.RETIRED
        assert live(scene.world) == 1 and not scene.world.provider.accepts(leaked)


async def test_an_incident_that_had_to_queue_behind_a_rotation_still_ends_the_leaked_key() -> None:
    world = await World.make()
    world.clock.forward(seconds=1)
    called = world.clock.now()
    await rotated(world)  # with its hour of overlap, for the key that has leaked
    outcome = await rotate(world.worker(), called, Reason.INCIDENT)
    assert outcome.result is Result.RETIRED
    assert live(world) == 1 and world.provider.made == 2


async def test_an_incident_whose_leaked_key_cannot_be_revoked_yet_says_so() -> None:
    world = await World.make()
    world.clock.forward(seconds=1)
    called = world.clock.now()
    await rotated(world)
    world.clock.forward(minutes=1)
    world.provider.used(world.first_key.ref.id)
    outcome = await rotate(world.worker(), called, Reason.INCIDENT)
    assert outcome.result is Result.PENDING and "saw the old key used" in outcome.sentence


async def test_an_incident_run_again_makes_no_second_key() -> None:
    world = await World.make()
    world.clock.forward(seconds=1)
    called = world.clock.now()
    await rotate(world.worker(), called, Reason.INCIDENT)
    again = await rotate(world.worker(), called, Reason.INCIDENT)
    assert again.result is Result.NOTHING and world.provider.made == 2


# What is undone.


async def failed(scene: Scene, verb: str, fault: Fault, times: int) -> Actor:
    """A run in which a verb of the deciding store meets a fault so many times in a row."""
    actor = scene.actor("A")
    actor.start(scene.rotate(actor))
    await actor.until(before=f"store memory.{verb}")
    first = len(actor.calls)
    actor.faults = dict.fromkeys(range(first, first + times), fault)
    assert isinstance(await actor.end(), KeyturnError)
    return actor


@pytest.mark.parametrize(("kind", "left"), [(PLAIN, 2), (BLIND, 1)], ids=str)
async def test_a_key_that_could_not_be_written_is_left_to_its_name_or_else_undone(kind: Kind, left: int) -> None:
    async with Scene.of("the store is down while the key is to be staged", kind) as scene:
        await failed(scene, "stage", Fault.UNAVAILABLE, times=7)
        assert live(scene.world) == left
        await scene.finish()
        assert not scene.wrong


async def test_a_key_that_the_store_denies_is_undone_at_once() -> None:
    async with Scene.of("the store denies") as scene:
        await failed(scene, "stage", Fault.DENIED, times=1)
        assert live(scene.world) == 1
        await scene.finish()
        assert not scene.wrong


async def test_a_staged_key_whose_note_could_not_be_written_is_used_by_the_next_run() -> None:
    async with Scene.of("notes cannot be written") as scene:
        await failed(scene, "annotate", Fault.UNAVAILABLE, times=20)
        assert Stage.PENDING in await scene.world.store.stages(scene.world.secret)
        await scene.finish()
        assert not scene.wrong and scene.world.provider.made == 2


async def test_a_stray_that_cannot_be_revoked_holds_nothing_up() -> None:
    world = await World.make()
    world.provider.lose_answers = 1
    c = world.worker()

    async def may_not(key: KeyRef) -> None:
        raise DeniedError("may not delete")

    world.provider.revoke = may_not  # type: ignore[method-assign]
    assert (await rotate(c, world.clock.now())).result is Result.ROTATED
    assert live(world) == 3 and "left to the sweep" in " ".join(line.sentence for line in c.timeline)


async def test_a_provider_that_does_not_list_for_a_while_holds_up_no_look() -> None:
    world = await World.make()
    await rotated(world)
    world.clock.forward(hours=2)
    world.provider.fail["list"] = UnavailableError("503")
    turn = await begin(world.worker(), Asked(world.clock.now()))
    assert turn.decision.check == "overdue" and turn.seen.keys is None


# Retirement.


async def test_a_retirement_waits_for_the_proof_even_when_it_is_to_be_now() -> None:
    async with Scene.of("promoted, and not proved") as scene:
        actor = scene.actor("A")
        actor.start(scene.rotate(actor))
        await actor.until(before="fleet local.roll")
        with pytest.raises(PermanentError, match="not finished"):
            await retire(scene.world.worker(), scene.world.clock.now(), now=True)


async def test_a_retirement_of_what_no_rotation_has_proved_a_successor_for_has_to_be_asked_for() -> None:
    async with Scene.of("a person's value is current since the promotion") as scene:
        actor = scene.actor("A")
        actor.start(scene.rotate(actor))
        await actor.until(before="fleet local.roll")
        await actor.bury()
        scene.world.change_by_hand(scene.world.provider.add(new_key(), "by hand").material)
        for member in scene.world.fleet.names:
            scene.world.fleet.loaded[member] = (await scene.world.store.current(scene.world.secret)).version
        with pytest.raises(PermanentError, match="no rotation has proved"):
            await retire(scene.world.worker(), scene.world.clock.now())
        done = await retire(scene.world.worker(), scene.world.clock.now(), now=True)
        assert done.result is Result.RETIRED
        assert not scene.world.provider.accepts(scene.world.first_key.material)


async def test_a_revoke_that_fails_does_not_fail_the_rotation() -> None:
    world = await World.make(overlap="0s")
    world.provider.fail["revoke"] = DeniedError("may not delete")
    assert (await rotated(world)).result is Result.PENDING
    world.provider.fail.clear()
    assert (await rotated(world)).result is Result.RETIRED
    assert live(world) == 1 and world.provider.made == 2


async def test_a_retirement_that_prefect_does_not_take_does_not_fail_the_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def is_down(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(flows.retire, "arun_deployment", is_down)
    world = await World.make()
    c = world.worker()
    assert "keyturn retire openai-prod" in await _schedule(c, world.clock.now() + timedelta(hours=1))
    assert "ConnectError" in c.timeline[-1].sentence


# Around the steps.


NOT_KEPT = (httpx.ConnectError("refused"), json.JSONDecodeError("no JSON", "", 0))


def wired(monkeypatch: pytest.MonkeyPatch, world: World, error: Exception = NOT_KEPT[0]) -> None:
    """flows.at_work without Prefect, which does not keep the page."""

    @asynccontextmanager
    async def assembled(*_: Any) -> AsyncIterator[Any]:
        yield world.worker()

    async def is_down(**_: Any) -> None:
        raise error

    words = SimpleNamespace(info=print, warning=print)
    for name, stub in {
        "get_run_logger": lambda: words,
        "one_at_a_time": lambda _, **__: nullcontext(),
        "assemble": assembled,
        "load": lambda: None,
        "acreate_markdown_artifact": is_down,
    }.items():
        monkeypatch.setattr(flows.at_work, name, stub)
    monkeypatch.setattr(flows.logged, "get_run_logger", lambda: words)


@pytest.mark.parametrize("error", NOT_KEPT, ids=lambda error: type(error).__name__)
async def test_a_page_that_prefect_does_not_keep_fails_no_run(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wired(monkeypatch, await World.make(), error)
    async with flows.at_work.at_work("openai-prod") as c:
        c.say("roll", "done")
    assert "could not be kept" in capsys.readouterr().out


async def test_a_page_that_prefect_does_not_keep_hides_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    wired(monkeypatch, await World.make())
    with pytest.raises(UnavailableError, match="the vault is sealed"):
        async with flows.at_work.at_work("openai-prod"):
            raise UnavailableError("the vault is sealed")


class Limits:
    """Prefect's concurrency limits, as far as the turnstile uses them."""

    def __init__(self) -> None:
        self.freed: list[str] = []
        self.taken_at: datetime | None = None

    async def read_global_concurrency_limit_by_name(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(active_slots=int(self.taken_at is not None), updated=self.taken_at)

    async def delete_global_concurrency_limit_by_name(self, name: str) -> None:
        self.freed.append(name)

    async def upsert_global_concurrency_limit_by_name(self, name: str, limit: int, **_: float | None) -> None:
        assert limit == 1


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Limits:
    """The turnstile with stubs for all that it has of Prefect."""
    limits = Limits()
    context: AbstractAsyncContextManager[Limits] = nullcontext(limits)
    for name, stub in {
        "get_client": lambda: context,
        "leased": lambda *_, **__: nullcontext(),
        "get_current_settings": lambda: SimpleNamespace(home=tmp_path),
        "get_run_logger": lambda: SimpleNamespace(info=print, warning=print),
    }.items():
        monkeypatch.setattr(flows.turnstile, name, stub)
    monkeypatch.setattr(flows.lease, "get_run_logger", lambda: SimpleNamespace(warning=print))
    monkeypatch.setattr(flows.asking, "get_client", lambda: context)
    return limits


async def test_a_run_that_failed_is_not_taken_for_one_that_died(limits: Limits, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        async with flows.turnstile.one_at_a_time("openai-prod"):
            raise UnavailableError("503")
    async with flows.turnstile.one_at_a_time("openai-prod"):
        assert limits.freed == [], "freeing its slot would be freeing whoever holds it now"
    (tmp_path / "keyturn" / "openai-prod.lock").write_text("held")
    async with flows.turnstile.one_at_a_time("openai-prod"):
        assert limits.freed == ["keyturn-openai-prod"]


async def test_a_slot_that_a_dead_server_has_forgotten_is_freed(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's server was killed: it has forgotten whose slot it is, and counts it as taken for ever."""

    @asynccontextmanager
    async def leased(*_: object, **__: object) -> AsyncIterator[None]:
        if not limits.freed:
            raise TimeoutError
        yield

    monkeypatch.setattr(flows.turnstile, "leased", leased)
    async with flows.turnstile.one_at_a_time("openai-prod"):
        assert limits.freed == ["keyturn-openai-prod"]


@pytest.mark.parametrize("error", [httpx.ReadTimeout("late"), json.JSONDecodeError("no JSON", "<html>", 0), TimeoutError()])
async def test_a_slot_that_cannot_be_given_back_is_no_failure_of_the_run(
    error: Exception, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page in the place of Prefect's answer, at the very end: what was rotated is rotated."""

    @asynccontextmanager
    async def leased(*_: object, **__: object) -> AsyncIterator[None]:
        yield
        raise error

    monkeypatch.setattr(flows.turnstile, "leased", leased)
    done = False
    async with flows.turnstile.one_at_a_time("openai-prod"):
        done = True
    assert done


async def test_what_is_not_prefects_answer_is_an_error_in_our_words(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def leased(*_: object, **__: object) -> AsyncIterator[None]:
        raise json.JSONDecodeError("no JSON", "<html>Please log in</html>", 0)
        yield

    monkeypatch.setattr(flows.turnstile, "leased", leased)
    with pytest.raises(UnavailableError, match="JSONDecodeError") as caught:
        async with flows.turnstile.one_at_a_time("openai-prod"):
            pytest.fail("nobody has this turn")
    assert "log in" not in repr(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize(("minutes", "taken"), [(59, True), (61, False)])
async def test_whoever_looks_takes_a_slot_for_free_that_nobody_has_touched_for_an_hour(
    minutes: int, taken: bool, limits: Limits
) -> None:
    limits.taken_at = datetime.now(UTC) - timedelta(minutes=minutes)
    assert await flows.turnstile.is_taken("openai-prod") is taken
    assert limits.freed == ([] if taken else ["keyturn-openai-prod"])


async def test_a_retirement_that_is_started_a_moment_early_waits_for_the_end_of_the_overlap() -> None:
    """Prefect starts a run that is scheduled for that very second some milliseconds before."""
    world = await World.make()
    done = await rotated(world)
    assert done.retire_after is not None
    world.clock.moment = done.retire_after - timedelta(milliseconds=3)
    assert (await retire(world.worker(), world.clock.now())).result is Result.RETIRED
    assert world.clock.now() >= done.retire_after


async def test_a_retirement_that_is_asked_for_long_before_does_nothing() -> None:
    world = await World.make()
    done = await rotated(world)
    assert done.retire_after is not None
    world.clock.moment = done.retire_after - timedelta(minutes=1)
    assert (await retire(world.worker(), world.clock.now())).result is Result.NOTHING
    assert live(world) == 2


async def test_runs_of_one_process_hand_their_turn_on_and_the_last_gives_it_back(
    limits: Limits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked, at_once, most = 0, 0, 0

    @asynccontextmanager
    async def leased(*_: object, **__: object) -> AsyncIterator[None]:
        nonlocal asked
        asked += 1
        yield

    async def run() -> None:
        nonlocal at_once, most
        async with flows.turnstile.one_at_a_time("fleet.prod"):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1

    monkeypatch.setattr(flows.turnstile, "leased", leased)
    await asyncio.gather(*(run() for _ in range(5)))
    assert (asked, most) == (1, 1)
    assert is_free(tmp_path / "keyturn" / "fleet.prod.lock")
    monkeypatch.setattr(flows.turnstile, "KEPT_SECONDS", -1.0)
    await asyncio.gather(*(run() for _ in range(5)))
    assert asked == 6, "after a while others may have it, each time"


async def test_a_turn_that_is_handed_to_whoever_is_cancelled_is_given_back(
    limits: Limits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given_back: list[str] = []

    @asynccontextmanager
    async def leased(slot: str, **_: object) -> AsyncIterator[None]:
        yield
        given_back.append(slot)

    async def waits() -> None:
        async with flows.turnstile.one_at_a_time("fleet.prod"):
            pytest.fail("it was cancelled before")

    monkeypatch.setattr(flows.turnstile, "leased", leased)
    async with flows.turnstile.one_at_a_time("fleet.prod"):
        waiting = asyncio.create_task(waits())
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert given_back == ["keyturn-fleet.prod"]
    assert is_free(tmp_path / "keyturn" / "fleet.prod.lock")


@pytest.mark.parametrize("meanwhile", [False, True], ids=["alone", "made by another machine meanwhile"])
async def test_a_slot_that_was_never_made_is_made(meanwhile: bool, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    @asynccontextmanager
    async def leased(*_: object, **__: object) -> AsyncIterator[None]:
        if not made:
            raise NoLimitError("there is none")
        yield

    async def create(asked: GlobalConcurrencyLimitCreate) -> None:
        assert asked.limit == 1
        made.append(asked.name)
        if meanwhile:
            raise ObjectAlreadyExists(RuntimeError())

    monkeypatch.setattr(flows.turnstile, "leased", leased)
    monkeypatch.setattr(limits, "create_global_concurrency_limit", create, raising=False)
    async with flows.turnstile.one_at_a_time("openai-prod"):
        assert made == ["keyturn-openai-prod"]


def is_free(path: Path) -> bool:
    with path.open("a+") as file:
        return try_lock(file.fileno())
