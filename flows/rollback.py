"""rollback: the previous key is served again, because a person says so."""

from datetime import timedelta

from prefect import flow

from flows.at_fleets import alone_on
from flows.at_work import at_work, tell
from flows.audited import audited, record
from flows.outcome import Outcome, Result, came_to
from flows.parameters import CredentialName
from flows.retire import finish
from flows.serve_current import serve_previous
from keyturn.audit.record import Act
from keyturn.config import load
from tasks.take_back import take_back


@flow(name="rollback", flow_run_name="{credential}", persist_result=False, log_prints=False)
async def rollback(credential: CredentialName) -> Outcome:
    """Promote the previous value, roll every member back, prove it. The key that was taken back is revoked after an overlap.

    The credential is parked: nothing is begun by itself until a person rotates it. Possible while the previous value is
    held, which is until the end of its overlap.
    """
    overlap: timedelta = load().credential(credential).overlap
    async with at_work(credential) as c, audited(c, "rollback", why="by hand"):
        async with alone_on(c.fleets):
            await take_back(c, "by hand", for_good=True)
            await record(c, Act.ROLLED_BACK, {"why": "by hand"})
            await serve_previous(c, overlap)
        tell("rolled_back", credential)
        end = await finish(c)
        sentence = f"the previous key is served again; parked until `keyturn rotate {credential}`; {end.sentence}"
        outcome = Outcome(credential, Result.ROLLED_BACK, sentence, end.retire_after, end.old_key_refused_at)
        return came_to(c, outcome)
