"""A sweep's look at one credential, and what follows from it."""

import asyncio
from dataclasses import replace

from flows.ask import held_back
from flows.at_work import tell
from flows.audited import record
from flows.outcome import Outcome, Result
from flows.retire import retire
from flows.rotate import rotate
from flows.swept import State, Swept
from flows.turnstile import is_taken
from keyturn import faults
from keyturn.assembly import Adapters, Assembly, assemble
from keyturn.audit.record import Act
from keyturn.config import Config
from keyturn.due import due_since
from keyturn.errors import KeyturnError, ParkedError
from keyturn.lifecycle import Asked, Reason, Step
from keyturn.order import held_up
from keyturn.steps.drift import drift
from keyturn.steps.standing import Standing, standing
from tasks.strays import strays

LOOK_SECONDS = 120  # its parts have time limits of their own; together they may take several of them

DUE_AT_ONCE = ("turned", "leaked")  # what ends by itself, and what is in service and known to somebody
NOTHING_TO_DO = {Step.NOTHING: State.QUIET, Step.WAIT: State.WAITING, Step.PARKED: State.PARKED, Step.STOP: State.FAILED}


async def sweep_one(config: Config, adapters: Adapters, name: str) -> Swept:
    """Look, act, revoke strays. Raises nothing: whatever happens to this credential is its own row."""
    try:
        async with assemble(config, name, adapters=adapters) as c:
            return await _sweep(c, config)
    except ParkedError as error:
        return Swept(name, State.PARKED, error.message)
    except KeyturnError as error:
        return Swept(name, State.FAILED, str(error))
    except Exception as error:
        return Swept(name, State.FAILED, f"a fault of keyturn's: {faults.describe(error)}")


async def _sweep(c: Assembly, config: Config) -> Swept:
    asked = Asked(c.now(), Reason.SCHEDULED, c.settings.overlap, c.settings.max_age, patience=c.patience)
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            found = await standing(c, asked)
            disagree = await _drift(c, found) if found.is_seen else ()
    except TimeoutError:
        return Swept(c.name, State.UNSEEN, f"its parts did not answer within {LOOK_SECONDS} s")
    if not found.is_seen:
        return Swept(c.name, State.UNSEEN, "; ".join(found.seen.problems))
    row = await _act(c, config, found)
    if row.state is State.BUSY:
        return row
    for sentence in disagree:
        tell("drift", c.name, sentence=sentence)
    left = await strays(c, config.sweep.stray_age) if found.strays else None
    if left is None:
        return replace(row, drift=disagree)
    for key in left.revoked:
        await record(c, Act.REVOKED, {"key": key, "why": "a stray: nothing claims it"})
    return replace(row, drift=(*disagree, *left.unexplained), strays=left.revoked)


async def _drift(c: Assembly, found: Standing) -> tuple[str, ...]:
    silent = [fleet for fleet, members in found.seen.serving.items() if None in members.values()]
    return await drift(c, found.seen, [fleet for fleet in silent if await is_taken(f"fleet.{fleet}")])


async def _act(c: Assembly, config: Config, found: Standing) -> Swept:
    """By runs of their own, which Prefect shows as such."""
    step, sentence = found.decision.step, found.decision.sentence
    if step in NOTHING_TO_DO:
        if found.decision.check == "asking":
            for each in found.seen.old_keys:  # once more: whoever was to ask may have died
                await held_back(c, each)
        return Swept(c.name, State.BY_HAND if found.decision.check == "kept" else NOTHING_TO_DO[step], sentence)
    is_asked_for = step is Step.CREATE and found.decision.check not in DUE_AT_ONCE
    if is_asked_for and due_since(c.name, c.settings, found.seen.journal, c.now(), config.sweep.every) is None:
        return Swept(c.name, State.QUIET, "not due")
    held = await held_up(c, found.seen) if found.decision.check == "due" else None
    if held is not None and not held.goes_on:
        if held.for_long:
            tell("held_up", c.name, sentence=held.sentence)
        return Swept(c.name, State.HELD_UP if held.for_long else State.WAITING, held.sentence)
    if await is_taken(c.name):
        return Swept(c.name, State.BUSY, "another run is at it")
    outcome = await retire(c.name) if step is Step.RETIRE else await rotate(c.name, Reason.SCHEDULED)
    return Swept(c.name, _state(outcome), f"{outcome.result}: {outcome.sentence}")


def _state(outcome: Outcome) -> State:
    if outcome.by_hand:
        return State.BY_HAND
    if outcome.result is Result.PENDING:
        return State.FAILED
    return State.QUIET if outcome.result is Result.NOTHING else State.DONE
