"""rotate_many: many credentials in one run, side by side. Each is a task of its name, with its steps nested in it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from prefect import Task, flow
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.asking import asking_prefect, several_at_once
from flows.at_work import artifact
from flows.choice import chosen, due_now, in_order, side_by_side
from flows.ends import ends_together, sweep_at_the_end
from flows.outcome import Outcome
from flows.parameters import Credentials, Overlap, ProviderName
from flows.rotate import rotate_one
from flows.turned import NotAllTurnedError, Turned, of_failure, of_outcome
from keyturn import faults
from keyturn.assembly import Adapters
from keyturn.config import load
from keyturn.errors import KeyturnError, UnavailableError
from keyturn.lifecycle import Reason
from keyturn.quiet import hold_vendor_loggers
from tasks.policy import discreet


class Together:
    """What the credentials of one run share. No dataclass: Prefect looks through every field of one that a task is given.

    `adapters`: None for a login of keyturn's own, which no other credential may be using by the time it is turned.
    """

    def __init__(self, adapters: Adapters, reason: Reason, overlap: str | None, dry_run: bool) -> None:
        self.adapters, self.reason, self.overlap, self.dry_run = adapters, reason, overlap, dry_run
        self.outcomes: dict[str, Outcome] = {}


async def _rotate(credential: str, together: Together) -> State[None]:
    """The state that Prefect shows: the outcome is its name, and the sentence behind it its message."""
    config = together.adapters.config
    settings = config.credential(credential)
    own = together.adapters if not config.serves_keyturn(settings) else None
    async with discreet():
        outcome = await rotate_one(credential, settings, together.reason, together.overlap, together.dry_run, own)
    together.outcomes[credential] = outcome
    return Completed(name=outcome.result.value, message=outcome.sentence)


one: Task[..., Any] = Task(
    fn=_rotate,
    name="credential",
    task_run_name="{credential}",
    persist_result=False,
    cache_policy=NO_CACHE,
    log_prints=False,
)


@flow(name="rotate_many", persist_result=False, log_prints=False)
async def rotate_many(
    credentials: Credentials | None = None,
    provider: ProviderName | None = None,
    every: bool = False,
    due: bool = False,
    reason: Reason = Reason.MANUAL,
    overlap: Overlap | None = None,
    dry_run: bool = False,
) -> list[Turned]:
    """Turn the keys of these credentials, of all of a provider, or of `every` one. One that fails stops and delays no other.

    `due`: of these only what is due by its schedule or age, as a schedule would begin it. A retry of the run does what was
    not done: what was rotated since the run was asked for is left alone.
    """
    hold_vendor_loggers()
    async with discreet():
        config = load()
        adapters = Adapters(config)
        try:
            names = chosen(
                config, credentials or (), provider, every=every or (due and not credentials and provider is None)
            )
            if due:
                names, reason = await due_now(config, adapters, names), Reason.SCHEDULED
            with ends_together() as ends, several_at_once():
                rows = await _each(names, Together(adapters, reason, overlap, dry_run))
            await _tell(rows, ends)
        finally:
            await adapters.aclose()
        if any(row.failed for row in rows):
            raise NotAllTurnedError(rows)
        return rows


async def _each(names: Sequence[str], together: Together) -> list[Turned]:
    """Keyturn's own logins come last, one after another."""
    config = together.adapters.config
    first, logins = in_order(config, names)
    rows = await side_by_side(config, first, config.rotate_many.at_once, lambda name: _turned(name, together))
    return [*rows, *[await _turned(name, together) for name in logins]]


async def _turned(name: str, together: Together) -> Turned:
    """Raises nothing: whatever happens to this credential is its own row."""
    try:
        await one(name, together)
        return of_outcome(together.outcomes[name])
    except KeyturnError as error:
        return of_failure(name, error)
    except Exception as error:
        return Turned(name, "failed", f"a fault of keyturn's: {faults.describe(error)}", "please report it", failed=True)


async def _tell(rows: Sequence[Turned], ends: Sequence[datetime]) -> None:
    """What became of each, as a table of Prefect's, what is not well first; and the run that ends the old keys."""
    await asyncio.gather(_keep_table(rows), _end_overlaps(ends))


async def _keep_table(rows: Sequence[Turned]) -> None:
    table = [row.as_row() for row in sorted(rows, key=lambda row: not row.failed)]
    description = "The last rotation of many: every credential, what became of it, and what comes next"
    try:
        with asking_prefect():
            await acreate_table_artifact(key=artifact("rotate-many"), table=table, description=description)
    except (UnavailableError, TimeoutError) as error:
        get_run_logger().warning("the table could not be kept as an artifact: %s", error)


async def _end_overlaps(ends: Sequence[datetime]) -> None:
    if ends:
        get_run_logger().info(await sweep_at_the_end(max(ends)))
