"""The first half of a rotation: create, write, validate, promote; and undo, where that fails before the pivot."""

from flows.audited import record
from keyturn.assembly import Assembly
from keyturn.audit.record import Act
from keyturn.errors import KeyturnError, PermanentError
from keyturn.lifecycle import Step
from keyturn.model import CreatedKey
from keyturn.steps.observe import Turn
from keyturn.steps.write import SupersededError
from tasks.create import create
from tasks.promote import promote
from tasks.undo import undo
from tasks.validate import validate
from tasks.write import write


async def renew(c: Assembly, turn: Turn) -> None:
    """Up to the pivot. A failure that will not go away by itself is undone; one that may is left for the next run."""
    key: CreatedKey | None = None
    written = False
    try:
        key = await create(c, turn)
        try:
            await write(c, turn, key)
            written = True
        finally:  # first it has to be where it is not lost
            if key is not None:
                await record(c, Act.CREATED, {"key": key.ref.id, "name": key.ref.name, "text": key.material.fingerprint()})
        if turn.decision.step is not Step.PROMOTE:
            await validate(c, turn)
        await promote(c, turn)
        await record(c, Act.PROMOTED, {"rotation": turn.rotation, "why": turn.asked.reason.value})
    except SupersededError:
        raise
    except KeyturnError as error:
        # What may pass is left for the next run: it adopts what was staged, and tells what was not by its name. Only where
        # keys cannot be listed is this the last moment at which anybody knows of the key.
        nameless = key is not None and not written and not c.provider.capabilities.can_list
        if isinstance(error, PermanentError) or nameless:
            await _undo_quietly(c, turn, key)
        raise


async def _undo_quietly(c: Assembly, turn: Turn, key: CreatedKey | None) -> None:
    """The failure that led here is the one to report; what undo could not do, the next run does."""
    try:
        if await undo(c, turn, key):
            await record(c, Act.UNDONE, {"rotation": turn.rotation})
    except KeyturnError as error:
        c.say("undo", f"not finished, and left for the next run: {error.message}")
