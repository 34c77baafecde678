"""approve: a person is asked whether an old key may be ended; what they say is noted, and done.

The run that asks is paused in Prefect, with a form, and holds no process. Whoever ends keys reads the note beside the
secret, so that an answer may as well be given at a terminal, and no answer hangs on this run.
"""

from datetime import timedelta

from prefect import flow
from prefect.context import FlowRunContext
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput

from flows.ask import withdraw
from flows.at_work import asked_at, beside_others
from flows.audited import record
from flows.incident import end_first
from flows.outcome import Outcome, Result
from flows.parameters import Answer, CredentialName, Fingerprint
from flows.retire import retire
from keyturn.audit.record import Act
from keyturn.config import load
from keyturn.errors import KeyturnError
from keyturn.lifecycle import Asked, Step
from keyturn.steps.observe import Turn, observe_decider
from tasks.answer import answer as note
from tasks.observe import observe

_ASKED_LONG = timedelta(days=30)  # where a key is kept until a person says otherwise


class Approval(RunInput):
    """The form. Its answer has no default: Prefect refuses an empty one."""

    answer: Answer


@flow(name="approve", flow_run_name="{credential}", persist_result=False, log_prints=False)
async def approve(
    credential: CredentialName, fingerprint: Fingerprint | None = None, answer: Answer | None = None
) -> Outcome:
    """Take the answer, or ask for it. `fingerprint`: of the value that is asked about; without it, of whichever is."""
    if answer is None:
        form = Approval.with_initial_data(description=await _asked(credential, fingerprint or ""))
        answer = (await asuspend_flow_run(wait_for_input=form, timeout=_seconds(credential))).answer
    async with beside_others(credential) as c:
        text = await note(c, fingerprint or "", revoke=answer == "revoke")
        await record(c, Act.ANSWERED, {"text": text, "answer": answer, "given": _where()})
        _, journal = await observe_decider(c)
        leaked = journal.leaked_as(text)
        if answer == "revoke" and leaked is not None and leaked.first:
            await end_first(c, text)  # whoever is at its successor meanwhile goes on with that
        turn = await observe(c, Asked(asked_at()))
    await withdraw(credential)
    if answer == "revoke" and turn.decision.step is Step.RETIRE:
        return await retire(credential)
    return Outcome(credential, Result.ANSWERED, _sentence(answer, turn), turn.seen.journal.retire_after)


async def _asked(credential: str, fingerprint: str) -> str:
    """What the form says. References and words: Prefect keeps it."""
    asked = f"May the old key of {credential} be revoked? Nothing undoes that. keep: it lives until a person says revoke."
    try:
        async with beside_others(credential) as c:
            _, journal = await observe_decider(c)
    except KeyturnError:
        return asked  # whoever takes the answer looks again
    leaked = journal.leaked_as(fingerprint)
    if leaked is None:
        return asked
    first = " It is to go before its successor is served: until that is, requests fail." if leaked.first else ""
    return f"{asked} It was reported as leaked at {leaked.at:%Y-%m-%d %H:%M:%S} UTC.{first}"


def _seconds(credential: str) -> int:
    """As long as an answer can make a difference; then Prefect fails the run, and nothing else happens by that."""
    settings = load().credential(credential)
    approval = settings.approval
    asked = settings.overlap + approval.timeout if approval is not None and approval.then == "revoke" else _ASKED_LONG
    return int(asked.total_seconds())


def _where() -> str:
    context = FlowRunContext.get()
    by_prefect = context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None
    return "in Prefect, whose open server does not say by whom" if by_prefect else "at a terminal"


def _sentence(answer: str, turn: Turn) -> str:
    if answer == "keep":
        return "the old key is kept, until `keyturn approve` or `keyturn retire --now`"
    return f"the old key may be revoked. Now: {turn.decision.sentence}"
