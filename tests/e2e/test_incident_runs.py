"""Runs that the incident service makes at Prefect: one for each leak, found again, and gone on with after a death."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect import Flow, flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running

from deployments.incidents.desk import Progress, Run
from deployments.incidents.engine import Engine
from deployments.incidents.runs import Runs
from keyturn.incidents.leak import Subject, credential_subject, key_subject
from keyturn.lifecycle import Policy
from tests.e2e.conftest import Installation

pytestmark = pytest.mark.real


class Stage:
    """A flow that takes what `respond` takes. `called`: with which parameters; `open`: it ends when this is set."""

    def __init__(self) -> None:
        self.called: list[dict[str, Any]] = []
        self.open = True
        self.fails = False
        self.flow = self._flow()

    def _flow(self) -> Flow[..., Any]:
        @flow(name=f"stand-in-{secrets.token_hex(4)}", persist_result=False)
        async def stand_in(credentials: list[str], policy: str = "configured", fingerprint: str | None = None) -> None:
            self.called.append({"credentials": credentials, "policy": policy, "fingerprint": fingerprint})
            while not self.open:  # noqa: ASYNC110  # another thread opens it
                await asyncio.sleep(0.05)
            if self.fails:
                raise RuntimeError("as the test wished")

        return stand_in


@pytest.fixture
def stage(installation: Installation) -> Iterator[Stage]:
    with temporary_settings({PREFECT_API_URL: installation.environ["PREFECT_API_URL"]}):
        yield Stage()


@contextmanager
def service(stage: Stage, instance: str = "here", window: timedelta = timedelta(minutes=10)) -> Iterator[Runs]:
    engine = Engine(stage.flow)
    try:
        yield Runs(stage.flow, engine, window, instance)
    finally:
        engine.close(10 if stage.open else 0)


async def ended(runs: Runs, run: Run, states: tuple[str, ...] = ("done", "failed")) -> Progress:
    deadline = time.monotonic() + 60
    while (found := await runs.tell(run.id)) is None or found.state not in states:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    return found


def leak(name: str = "") -> Subject:
    return key_subject(secrets.token_hex(8), [name or f"c-{secrets.token_hex(3)}"], [])


async def test_the_same_leak_is_one_run_under_way_and_done_and_after_a_restart(stage: Stage) -> None:
    subject, stage.open = leak(), False
    with service(stage) as runs:
        (first,) = await runs.start([subject], Policy.CONFIGURED)
        assert first.begun
        again = await asyncio.gather(*(runs.start([subject], Policy.CONFIGURED) for _ in range(3)))
        assert [(run.id, run.begun) for (run,) in again] == [(first.id, False)] * 3
        stage.open = True
        assert (await ended(runs, first)).state == "done"
        assert [run.id for run in await runs.start([subject], Policy.CONFIGURED)] == [first.id]
    with service(stage) as runs:
        assert [run.id for run in await runs.start([subject], Policy.CONFIGURED)] == [first.id]
        assert await runs.pick_up() == [], "what has ended is not begun again"
    assert len(stage.called) == 1
    assert stage.called[0]["fingerprint"] == subject.fingerprint


async def test_a_credential_and_its_key_in_service_are_the_same_leak_and_an_old_key_is_not(stage: Stage) -> None:
    name, now, old = f"c-{secrets.token_hex(3)}", secrets.token_hex(8), secrets.token_hex(8)
    with service(stage) as runs:
        (first,) = await runs.start([credential_subject(name, now)], Policy.CONFIGURED)
        (by_key,) = await runs.start([key_subject(now, [name], [name])], Policy.CONFIGURED)
        (by_old,) = await runs.start([key_subject(old, [name], [])], Policy.CONFIGURED)
        assert by_key.id == first.id
        assert by_old.id != first.id
        await ended(runs, first)
        await ended(runs, by_old)


async def test_who_names_a_credential_after_the_window_gets_another_run(stage: Stage) -> None:
    subject = credential_subject(f"c-{secrets.token_hex(3)}", None)
    with service(stage, window=timedelta(0)) as runs:
        (first,) = await runs.start([subject], Policy.CONFIGURED)
        await ended(runs, first)
        (second,) = await runs.start([subject], Policy.REVOKE_FIRST)
        assert second.begun and second.id != first.id
        await ended(runs, second)
    assert [each["policy"] for each in stage.called] == ["configured", "revoke_first"]


async def test_a_run_that_failed_is_no_answer_to_the_next_report(stage: Stage) -> None:
    subject, stage.fails = leak(), True
    with service(stage) as runs:
        (first,) = await runs.start([subject], Policy.CONFIGURED)
        assert (await ended(runs, first)).state == "failed"
        stage.fails = False
        (second,) = await runs.start([subject], Policy.CONFIGURED)
        assert second.begun and second.id != first.id
        assert (await ended(runs, second)).state == "done"


async def test_each_key_has_its_run_and_credentials_go_together(stage: Stage) -> None:
    names = [f"c-{secrets.token_hex(3)}" for _ in range(2)]
    with service(stage) as runs:
        begun = await runs.start([leak(), leak(), *(credential_subject(name, None) for name in names)], Policy.CONFIGURED)
        assert len(begun) == 3
        for run in begun:
            await ended(runs, run)
    assert sorted(names) in [each["credentials"] for each in stage.called]


@asynccontextmanager
async def left_behind(stage: Stage, state: Callable[[], Any], subject: Subject, instance: str) -> AsyncIterator[Run]:
    """A run whose process has died: it is at Prefect, and nobody executes it."""
    stage.open = False
    with service(stage, instance) as runs:
        runs._engine.execute = lambda run, parameters: None  # type: ignore[method-assign]
        (run,) = await runs.start([subject], Policy.CONFIGURED)
    async with get_client() as client:
        await client.set_flow_run_state(run.id, state(), force=True)
    stage.open = True
    yield run


async def test_what_a_dead_process_left_is_gone_on_with_at_the_next_start(stage: Stage) -> None:
    async with left_behind(stage, Running, leak(), "mine") as run:
        with service(stage, "mine") as runs:
            assert [each.id for each in await runs.pick_up()] == [run.id]
            assert (await ended(runs, run)).state == "done"
    assert len(stage.called) == 1


async def test_a_report_of_a_leak_whose_run_was_left_goes_on_with_it(stage: Stage) -> None:
    subject = leak()
    async with left_behind(stage, Running, subject, "mine") as run:
        with service(stage, "mine") as runs:
            assert [each.id for each in await runs.start([subject], Policy.CONFIGURED)] == [run.id]
            assert (await ended(runs, run)).state == "done"


async def test_a_run_that_another_service_has_just_begun_is_left_to_it(stage: Stage) -> None:
    async with left_behind(stage, Running, leak(), "theirs") as run:
        with service(stage, "mine") as runs:
            assert run.id not in [each.id for each in await runs.pick_up()]
    assert stage.called == []


async def test_no_run_but_an_incidents_is_told_of(stage: Stage) -> None:
    with service(stage) as runs:
        async with get_client() as client:
            other = await client.create_flow_run(stage.flow, parameters={"credentials": []})
        assert await runs.tell(other.id) is None
        assert await runs.tell(uuid4()) is None
