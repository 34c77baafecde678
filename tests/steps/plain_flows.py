"""The flows without Prefect: their order and policy as they stand in flows/, over steps that are called directly.

Steps keep the number of retries that tasks/ gives them, and what is worth one; the pauses pass on the worker's own clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal
from unittest.mock import patch

from prefect import Flow

import flows.approve
import flows.ask
import flows.audited
import flows.failures
import flows.incident
import flows.renew
import flows.respond_one
import flows.retire
import flows.rollback
import flows.rotate
import flows.serve_current
import flows.sweep_one
from flows.at_fleets import AtFleets
from flows.outcome import Outcome
from flows.swept import Swept
from keyturn.approval import Question
from keyturn.assembly import Assembly
from keyturn.durations import text
from keyturn.errors import IndeterminateError, RetryableError
from keyturn.evidence import Waiver
from keyturn.incident_report import Account
from keyturn.lifecycle import Reason
from keyturn.settings import SweepSettings
from tasks.policy import StepTask

MODULES = (
    flows.approve,
    flows.ask,
    flows.audited,
    flows.failures,
    flows.incident,
    flows.renew,
    flows.respond_one,
    flows.retire,
    flows.rollback,
    flows.rotate,
    flows.serve_current,
    flows.sweep_one,
)

_worker: ContextVar[Assembly] = ContextVar("_worker")
_asked: ContextVar[datetime] = ContextVar("_asked")


async def rotate(c: Assembly, asked: datetime, reason: Reason = Reason.MANUAL, overlap: timedelta | None = None) -> Outcome:
    """A run of the rotate flow, by this worker, as asked for at that time."""
    _worker.set(c)
    _asked.set(asked)
    return await flows.rotate.rotate.fn(c.name, reason, None if overlap is None else text(overlap))


async def retire(c: Assembly, asked: datetime, *, now: bool = False, force: Waiver | None = None) -> Outcome:
    """A run of the retire flow."""
    _worker.set(c)
    _asked.set(asked)
    return await flows.retire.retire.fn(c.name, now, force)


async def respond(c: Assembly, asked: datetime, *, first: bool = False, fingerprint: str = "") -> Outcome:
    """What the respond flow does with this credential, by this worker."""
    return (await account_of(c, asked, first=first, fingerprint=fingerprint))[0]


async def account_of(c: Assembly, asked: datetime, *, first: bool = False, fingerprint: str = "") -> tuple[Outcome, Account]:
    """The same, with what goes into the report."""
    _worker.set(c)
    _asked.set(asked)
    return await flows.respond_one.respond_one(flows.respond_one.Leak(c.name, asked, first, fingerprint))


async def approve(c: Assembly, answer: Literal["revoke", "keep"], fingerprint: str | None = None) -> Outcome:
    """What a person says, who was asked."""
    _worker.set(c)
    _asked.set(c.now())
    return await flows.approve.approve.fn(c.name, fingerprint, answer)


async def rollback(c: Assembly) -> Outcome:
    """A run of the rollback flow."""
    _worker.set(c)
    return await flows.rollback.rollback.fn(c.name)


async def sweep(c: Assembly, settings: SweepSettings | None = None) -> Swept:
    """What a sweep does with this credential, looked at by this worker."""
    _worker.set(c)
    _asked.set(c.now())
    config: Any = SimpleNamespace(sweep=settings or SweepSettings())
    unused: Any = None
    return await flows.sweep_one.sweep_one(config, unused, c.name)


@contextmanager
def plainly() -> Iterator[None]:
    """While this is open, flows/ runs without Prefect."""
    stubs: dict[str, Any] = {
        "at_work": _at_work,
        "beside_others": _at_work,
        "ask_in_prefect": _ask,
        "withdraw": _nothing_open,
        "alone_on": _at_fleets,
        "alone_unless": _at_fleets,
        "beside_others_on": _at_fleets,
        "asked_at": _asked.get,
        "tell": lambda *_, **__: None,
        "load": lambda: SimpleNamespace(credential=lambda _: _worker.get().settings),
        "_schedule": _scheduled,
        "assemble": _assembled,
        "is_taken": _is_taken,
    }
    with ExitStack() as stack:
        for module in MODULES:
            for name, found in list(vars(module).items()):
                if isinstance(found, StepTask):
                    stack.enter_context(patch.object(module, name, _retried(found.step, int(found.retries or 0))))
                elif name in stubs:
                    stack.enter_context(patch.object(module, name, stubs[name]))
                elif isinstance(found, Flow) and name in ("retire", "rotate") and module in (flows.sweep_one, flows.approve):
                    stack.enter_context(patch.object(module, name, found.fn))
        yield


@asynccontextmanager
async def _at_work(credential: str, adapters: Any = None) -> AsyncIterator[Assembly]:
    yield _worker.get()


@asynccontextmanager
async def _assembled(*_: Any, **__: Any) -> AsyncIterator[Assembly]:
    yield _worker.get()


asked_in_prefect: list[str] = []
"""The fingerprints of the values that were asked about, since a test cleared it."""


async def _ask(c: Assembly, asked: Question) -> None:
    asked_in_prefect.append(asked.text)


async def _nothing_open(credential: str) -> None:
    pass


async def _is_taken(name: str) -> bool:
    return False


@asynccontextmanager
async def _at_fleets(fleets: Iterable[str], is_rolled: Any = None) -> AsyncIterator[AtFleets]:
    yield AtFleets(())  # a courtesy of Prefect's: the steps have to be right without it


async def _scheduled(c: Assembly, at: datetime) -> str:
    return f"the old key lives until {at}"


def _retried(step: Callable[..., Awaitable[Any]], retries: int) -> Callable[..., Awaitable[Any]]:
    async def run(c: Assembly, *args: Any, **kwargs: Any) -> Any:
        for _ in range(retries):
            try:
                return await step(c, *args, **kwargs)
            except (RetryableError, IndeterminateError):
                await c.pause(1)
        return await step(c, *args, **kwargs)

    return run
