"""Every file of tasks/ is one step, wrapped the same way."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from prefect import Task
from prefect.cache_policies import NO_CACHE

import tasks
from tasks.policy import JITTER, worth_another_try

NAMES = sorted(path.stem for path in Path(tasks.__path__[0]).glob("[a-z]*.py") if path.stem != "policy")


def the_task(name: str) -> Task[..., Any]:
    found = [value for value in vars(import_module(f"tasks.{name}")).values() if isinstance(value, Task)]
    assert len(found) == 1, f"tasks/{name}.py holds {len(found)} tasks"
    return found[0]


def test_there_is_a_task_for_each_step() -> None:
    assert set(NAMES) >= {
        "observe", "preflight", "create", "write", "validate", "promote", "tidy", "roll", "prove", "revoke", "undo",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_task_bears_the_name_of_its_file_and_runs_one_step(name: str) -> None:
    task = the_task(name)
    assert task.name == name
    assert task.fn.__module__.startswith("keyturn.steps."), "the logic is a plain coroutine of keyturn"


@pytest.mark.parametrize("name", NAMES)
def test_a_task_keeps_nothing_and_is_retried_by_the_one_condition(name: str) -> None:
    task = the_task(name)
    assert task.persist_result is False
    assert task.cache_policy is NO_CACHE
    assert task.cache_key_fn is None
    assert task.log_prints is False
    assert task.retry_condition_fn is worth_another_try
    assert 1 <= task.retries <= 10
    assert task.retry_jitter_factor == JITTER
    delays = task.retry_delay_seconds
    assert isinstance(delays, list) and delays == sorted(delays), "the pauses grow"
    assert sum(delays) < 600, "a step does not hold a credential for long"
