"""What runs write into the audit log, where keyturn.yaml asks for one: by whom they were asked for, and what became of it.

A log that cannot be written stops nothing. What is under way has to be finished: a revoke that stops half-way leaves a key
that is refused in service, or one that has leaked alive. It is told in the run's log, on its page and by an event, and the
record is written with the next one, as long as the run lasts.
"""

import getpass
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from prefect.context import FlowRunContext

from flows.at_work import tell
from keyturn.assembly import Assembly
from keyturn.audit.record import Act, Entry
from keyturn.errors import ByHandError, ConflictError, DeniedError, EvidenceMissingError, KeyturnError, ParkedError
from keyturn.evidence import Evidence

# keyturn would not; of every other error: it could not.
_REFUSALS = (EvidenceMissingError, ConflictError, ParkedError, ByHandError, DeniedError)


@asynccontextmanager
async def audited(c: Assembly, flow: str, **facts: str) -> AsyncIterator[None]:
    """Write down that this run was asked for, by whom and why; and what stopped it, where something does."""
    c.asked_for.update(flow=flow, **facts)
    await record(c, Act.ASKED, {"flow": flow, **facts})
    try:
        yield
    except KeyturnError as error:
        await record_failure(c, error)
        raise


async def record(c: Assembly, act: Act, facts: Mapping[str, str] | None = None, evidence: Sequence[Evidence] = ()) -> None:
    """Write it down now, on the disk. Raises nothing. Facts are references and words."""
    if c.audit is None:
        return
    entry = Entry(c.now(), act, c.name, asked_by(), facts or {}, tuple(evidence))
    try:
        await c.audit.record(entry)
    except KeyturnError as error:
        c.say("audit", f"NOT WRITTEN: {act}: {error}")
        tell("audit_failed", c.name, act=act.value, reason=error.message)


async def record_failure(c: Assembly, error: KeyturnError) -> None:
    """That a run stopped, and where."""
    act = Act.REFUSED if isinstance(error, _REFUSALS) else Act.FAILED
    step = c.timeline[-1].step if c.timeline else ""
    await record(c, act, {"error": type(error).__name__, "sentence": error.message, "step": step}, c.evidence)


def asked_by() -> dict[str, str]:
    """The run, by Prefect's id, and who asked for it: a schedule, an automation, another run, a deployment's caller (whom
    Prefect's open server does not know by name), or a person at this machine's terminal."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    here = {"host": socket.gethostname(), "user": _user()}
    if run is None:
        return here
    by = run.created_by
    if by is not None and by.type:
        who = {"who": by.type.lower(), "name": by.display_value or ""}
    elif run.parent_task_run_id is not None:
        who = {"who": "another run"}
    elif run.deployment_id is not None:
        who = {"who": "schedule" if run.auto_scheduled else "api"}
    else:
        who = {"who": "terminal"}
    return {"run": str(run.id), **who, **here}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name for this user id, as in some containers
        return ""
