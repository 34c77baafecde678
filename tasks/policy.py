"""How a step becomes a Prefect task: what is retried, what is kept (nothing), what may be said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from keyturn import faults
from keyturn.errors import IndeterminateError, KeyturnError, PermanentError, RetryableError

P = ParamSpec("P")
R = TypeVar("R")

JITTER = 0.3


class UnexpectedError(PermanentError):
    """A fault of ours. Only its type and place are told: its text may hold anything."""


def as_task(
    step: Callable[P, Coroutine[Any, Any, R]], *, name: str, retries: int, first_pause: float = 1.0
) -> Task[P, Coroutine[Any, Any, R]]:
    """The step as a task.

    Retried with doubling pauses on RetryableError and IndeterminateError alone: every step looks again before it acts,
    so a repeat is safe, and every other error stays until somebody changes something. Nothing is persisted or cached: an
    argument or a return that is not persisted was found nowhere in Prefect (docs/security.md). A cause is cut off an
    error before Prefect sees it, since Prefect keeps its text.
    """

    @wraps(step)
    async def guarded(given: Given) -> R:
        async with discreet():
            try:
                return await step(*given.args, **given.kwargs)
            except KeyturnError as error:
                error.step = name
                raise

    fn: Any = guarded
    del fn.__wrapped__  # else Prefect takes the step's parameters for its own
    task: StepTask[P, Coroutine[Any, Any, R]] = StepTask(
        fn=fn,
        name=name,
        retries=retries,
        retry_delay_seconds=exponential_backoff(first_pause) if retries else None,
        retry_jitter_factor=JITTER if retries else None,
        retry_condition_fn=worth_another_try,
        persist_result=False,
        cache_policy=NO_CACHE,
        log_prints=False,
    )
    task.step = step
    return task


class Given:
    """What a step is given, as Prefect sees it: one parameter."""

    __slots__ = ("args", "kwargs")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = args, kwargs


class StepTask(Task[P, R]):
    """Prefect 3.8.8 looks through all that a task is given, field by field and twice, for results of other tasks: through
    the whole configuration, and every key that a provider has listed. There are none. And of a function that is wrapped it
    works out the parameters anew at each call, three times. `step`: what it does, without Prefect."""

    step: Callable[..., Coroutine[Any, Any, Any]]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call: Callable[..., Any] = super().__call__
        return call(Given(args, kwargs))


@asynccontextmanager
async def discreet() -> AsyncIterator[None]:
    """Of a fault of ours only type and place are told, in a task and between them: Prefect keeps an exception in full."""
    try:
        yield
    except KeyturnError as error:
        raise error from None
    except Exception as error:
        raise UnexpectedError(faults.describe(error), remedy="please report it") from None


async def worth_another_try(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether the same call may succeed later."""
    return isinstance(state.data, RetryableError | IndeterminateError)
