"""How a step becomes a task: what is tried again, and that Prefect is told nothing that could be a key."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, task_engine
from prefect.client.schemas.objects import State

from keyturn.errors import (
    ConflictError,
    KeyturnError,
    LostAnswerError,
    PermanentError,
    RejectedError,
    ThrottledError,
    UnavailableError,
    UndecidedError,
)
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, KeyRef
from tasks.policy import UnexpectedError, as_task
from tests.tasks.conftest import Kept

pytestmark = pytest.mark.real


def a_key() -> str:
    return "sk-" + secrets.token_hex(24)


async def run(step: Callable[..., Any], *arguments: Any, retries: int = 2) -> tuple[State[Any], UUID]:
    """The step as a task of a flow: how the flow ended, and its id."""
    task = as_task(step, name="step", retries=retries, first_pause=0.01)

    @flow(name="one-step", persist_result=False)
    async def one_step() -> Any:
        return await task(*arguments)

    state: State[Any] = await one_step(return_state=True)
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    return state, run_id


def failing(*errors: Exception) -> tuple[list[int], Callable[[], Awaitable[str]]]:
    """A step that fails with these, one after the other, and then succeeds; and the list of its calls."""
    calls: list[int] = []
    left = list(errors)

    async def step() -> str:
        calls.append(1)
        if left:
            raise left.pop(0)
        return "done"

    return calls, step


@pytest.mark.parametrize("error", [UnavailableError, ThrottledError, LostAnswerError, UndecidedError])
async def test_what_may_succeed_later_is_tried_again(error: type[KeyturnError], prefect: Kept) -> None:
    calls, step = failing(error("first"), error("second"))
    state, _ = await run(step)
    assert (state.type.value, len(calls)) == ("COMPLETED", 3)


async def test_the_tries_come_to_an_end_with_the_error_itself(prefect: Kept) -> None:
    calls, step = failing(*(UnavailableError(f"try {n}", remedy="look at its log") for n in range(9)))
    state, _ = await run(step)
    assert len(calls) == 3
    with pytest.raises(UnavailableError, match="try 2"):
        await state.aresult()
    assert "look at its log" in str(state.message)


@pytest.mark.parametrize("error", [PermanentError, ConflictError, RejectedError])
async def test_what_somebody_has_to_change_is_not_tried_again(error: type[KeyturnError], prefect: Kept) -> None:
    calls, step = failing(error("no"))
    state, _ = await run(step)
    assert (state.type.value, len(calls)) == ("FAILED", 1)


async def test_a_foreign_exception_is_not_tried_again_and_its_text_is_told_to_nobody(prefect: Kept) -> None:
    key = a_key()
    calls, step = failing(ValueError(f"the request with {key} failed"))

    state, run_id = await run(step)

    assert (state.type.value, len(calls)) == ("FAILED", 1)
    with pytest.raises(UnexpectedError) as told:
        await state.aresult()
    assert told.value.message.startswith("ValueError at test_policy.py:")
    log = await prefect.log(run_id, until="ValueError at test_policy.py:")
    assert "Traceback" in log, "Prefect does log the traceback: it must be one without the text"
    assert prefect.leaks(key) == []


async def test_the_cause_of_an_error_of_ours_is_cut_off(prefect: Kept) -> None:
    cause, context = a_key(), a_key()

    async def with_cause() -> None:
        try:
            raise ValueError(cause)
        except ValueError as error:
            raise PermanentError("refused, with a cause") from error

    async def with_context() -> None:
        try:
            raise ValueError(context)
        except ValueError:
            raise PermanentError("refused, within another") from None

    async def while_handling() -> None:
        try:
            raise ValueError(context)
        except ValueError:
            raise PermanentError("refused, while handling")  # noqa: B904  # what a careless adapter would do

    for step, words in (
        (with_cause, "refused, with a cause"),
        (with_context, "refused, within another"),
        (while_handling, "refused, while handling"),
    ):
        state, run_id = await run(step)
        with pytest.raises(PermanentError, match=words) as told:
            await state.aresult()
        assert told.value.__cause__ is None
        assert told.value.__suppress_context__
        await prefect.log(run_id, until=words)
    assert prefect.leaks(cause) + prefect.leaks(context) == []


async def test_neither_arguments_nor_returns_are_kept(prefect: Kept) -> None:
    bare, held = a_key(), a_key()

    async def create(text: str, nested: dict[str, list[str]]) -> CreatedKey:
        return CreatedKey(KeyRef("key_1", text), KeyMaterial(nested["keys"][0]))

    async def write(key: CreatedKey) -> str:
        return key.ref.name + key.material.reveal()

    async def careless(text: str) -> str:
        return text

    created, written, passed_on = (as_task(step, name="step", retries=1) for step in (create, write, careless))

    @flow(name="hands-over", persist_result=False)
    async def hands_over() -> bool:
        both = await written(await created(bare, {"keys": [held]}))
        return both == bare + held == await passed_on(both)

    state: State[Any] = await hands_over(return_state=True)

    assert await state.aresult() is True
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    await prefect.log(run_id, until="Completed()")
    assert prefect.leaks(bare) + prefect.leaks(held) == []


async def test_the_search_finds_what_prefect_does_keep(prefect: Kept) -> None:
    """The counter-test: else a search at the wrong place would pass all the others."""
    key = a_key()

    @flow(name="careless", persist_result=False)
    async def careless() -> None:
        raise ValueError(key)

    state: State[Any] = await careless(return_state=True)

    run_id = state.state_details.flow_run_id
    assert run_id is not None
    await prefect.log(run_id, until=key)
    assert {leak.place.split(": ")[-1] for leak in prefect.leaks(key)} >= {"log.message", "flow_run_state.message"}


async def test_prefect_does_not_look_through_what_a_step_is_given(prefect: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each task goes through the whole configuration, and every key that the provider has listed."""
    seen: list[Any] = []
    visit = vars(task_engine)["visit_collection"]

    def visited(expr: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(expr)
        return visit(expr, *args, **kwargs)

    async def step(given: list[int], *, named: dict[str, int]) -> int:
        return sum(given) + named["a"]

    monkeypatch.setattr(task_engine, "visit_collection", visited)
    task = as_task(step, name="step", retries=0)

    @flow
    async def one_step() -> int:
        total: int = await task([1, 2], named={"a": 3})
        return total

    assert await one_step() == 6
    assert seen and not any(isinstance(each, list | dict) for each in seen)
