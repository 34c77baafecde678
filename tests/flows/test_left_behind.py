"""Runs that a dead machine left: ended or queued again, and nothing is done to one that may live."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import StateType

from tests.flows.conftest import Source

LONG, SHORT = timedelta(minutes=20), timedelta(minutes=2)  # nine minutes are three heartbeats


class Server:
    """As much of Prefect's as is asked: runs, heartbeats, and what states were set."""

    def __init__(self) -> None:
        self.runs: dict[UUID, Any] = {}
        self.heard: set[UUID] = set()
        self.set: list[tuple[UUID, StateType]] = []
        self.own = self.run(SHORT, heard=True)

    def run(
        self, age: timedelta, state: StateType = StateType.RUNNING, *, heard: bool = False, inside: UUID | None = None
    ) -> UUID:
        identity = uuid4()
        made = SimpleNamespace(
            id=identity,
            name="of-a-test",
            state_type=state,
            state=SimpleNamespace(timestamp=datetime.now(UTC) - age),
            deployment_id=None if inside else uuid4(),
            inside=inside,
        )
        self.runs[identity] = made
        self.heard |= {identity} if heard else set()
        return identity

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def read_flow_runs(self, *, flow_run_filter: Any, deployment_filter: Any = None, limit: int) -> list[Any]:
        states = flow_run_filter.state.type.any_
        parents = flow_run_filter.parent_flow_run_id.any_ if flow_run_filter.parent_flow_run_id else []
        assert parents or deployment_filter.name.any_ == ["keyturn"]
        wanted = parents or [None]
        return [run for run in self.runs.values() if run.state_type in states and run.inside in wanted]

    async def read_events(self, signs: Any, limit: int) -> Any:
        (told,) = signs.resource.id
        return SimpleNamespace(events=[run for run in self.heard if told == f"prefect.flow-run.{run}"])

    async def set_flow_run_state(self, run: UUID, state: Any, force: bool) -> None:
        self.set.append((run, state.type))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def left(source: Source, server: Server, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = source.load("flows.left_behind")
    context = SimpleNamespace(get=lambda: SimpleNamespace(flow_run=server.runs[server.own]))
    for name, stub in {
        "FlowRunContext": context,
        "get_client": lambda: server,
        "get_run_logger": lambda: logging.getLogger("tests.left_behind"),
        "_ON_ITS_WAY": 1,
    }.items():
        monkeypatch.setattr(module, name, stub)
    return module


async def test_a_run_of_a_dead_machine_is_ended_and_what_ran_inside_it_before(left: ModuleType, server: Server) -> None:
    dead = server.run(LONG)
    inside = [server.run(LONG, inside=dead), server.run(SHORT, StateType.PENDING, inside=dead)]
    server.run(LONG, StateType.COMPLETED, inside=dead)
    await left.end_left_behind()
    assert server.set == [(each, StateType.CRASHED) for each in (*inside, dead)]


async def test_one_that_gives_a_sign_of_life_or_began_a_moment_ago_is_left_alone(left: ModuleType, server: Server) -> None:
    alive = server.run(LONG, heard=True)
    server.run(LONG, inside=alive)
    server.run(SHORT)
    server.run(SHORT, StateType.PENDING)
    await left.end_left_behind()
    assert server.set == []


async def test_where_no_sign_of_life_arrives_at_all_nobody_is_called_dead(left: ModuleType, server: Server) -> None:
    server.run(LONG)
    server.heard.clear()
    await left.end_left_behind()
    assert server.set == []


async def test_one_that_never_began_is_queued_again(left: ModuleType, server: Server) -> None:
    taken = server.run(LONG, StateType.PENDING)
    await left.end_left_behind()
    assert server.set == [(taken, StateType.SCHEDULED)]


async def test_what_ran_inside_one_whose_process_died_alone_is_ended(left: ModuleType, server: Server) -> None:
    inside = server.run(SHORT, inside=server.run(LONG, StateType.CRASHED))
    await left.end_left_behind()
    assert server.set == [(inside, StateType.CRASHED)]


async def test_a_server_that_does_not_answer_fails_nobody(
    left: ModuleType, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(**_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(server, "read_flow_runs", refuses)
    await left.end_left_behind()
    assert server.set == []
