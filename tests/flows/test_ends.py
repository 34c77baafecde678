"""The ends of many overlaps: one sweep is asked for, after the last of them, and if it cannot be had that is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from prefect.exceptions import ObjectNotFound

import flows.ends
from flows.ends import A_MOMENT, ends_together, ends_with_others, sweep_at_the_end

LAST = datetime(2026, 3, 4, 12, tzinfo=UTC)
AT = "2026-03-04 12:00:05 UTC"
REASON = "what stands in somebody's answer"


class Prefect:
    """What is asked of it, and how it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fails: Exception | None = None

    async def arun_deployment(self, name: str, **how: Any) -> None:
        self.asked.append((name, how))
        if self.fails is not None:
            raise self.fails


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Prefect:
    found = Prefect()
    monkeypatch.setattr(flows.ends, "arun_deployment", found.arun_deployment)
    monkeypatch.delenv("KEYTURN_ENVIRONMENT", raising=False)
    return found


async def test_a_sweep_is_asked_for_a_moment_after_the_last_and_nobody_waits_for_it(prefect: Prefect) -> None:
    assert await sweep_at_the_end(LAST) == f"the old keys are revoked by {AT}, by a sweep"
    ((name, how),) = prefect.asked
    assert name == "sweep/keyturn"
    assert how["scheduled_time"] == LAST + A_MOMENT
    assert (how["timeout"], how["as_subflow"]) == (0, False)


async def test_asked_again_it_is_the_same_run_and_for_another_end_another(prefect: Prefect) -> None:
    for at in (LAST, LAST, LAST + A_MOMENT):
        await sweep_at_the_end(at)
    first, again, other = [how["idempotency_key"] for _, how in prefect.asked]
    assert first == again != other


async def test_it_is_the_sweep_of_this_environment(prefect: Prefect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYTURN_ENVIRONMENT", "staging")
    await sweep_at_the_end(LAST)
    assert prefect.asked[0][0] == "sweep/keyturn-staging"


async def test_where_nobody_serves_it_a_person_is_told_what_to_run_and_when(prefect: Prefect) -> None:
    prefect.fails = ObjectNotFound(Exception(REASON))
    assert await sweep_at_the_end(LAST) == f"there is no deployment sweep/keyturn: run `keyturn sweep` after {AT}"


@pytest.mark.parametrize("error", [httpx.ConnectError(REASON), TimeoutError()], ids=["it is down", "it hangs"])
async def test_a_prefect_that_does_not_take_it_fails_nothing(error: Exception, prefect: Prefect) -> None:
    prefect.fails = error
    said = await sweep_at_the_end(LAST)
    assert said.startswith("no sweep could be asked for") and said.endswith(f"run `keyturn sweep` after {AT}")
    assert REASON not in said


def test_an_end_is_noted_while_many_are_turned_together_and_only_then() -> None:
    assert not ends_with_others(LAST)
    with ends_together() as ends:
        assert ends_with_others(LAST) and ends_with_others(LAST + A_MOMENT)
    assert ends == [LAST, LAST + A_MOMENT]
    assert not ends_with_others(LAST)
