"""`roll: restart`: the engine restarts the container, and its program reads its keys anew. Once for a roll, whoever dies."""

from __future__ import annotations

from keyturn.errors import RollFailedError
from keyturn.fleets.docker_container import Container
from keyturn.fleets.docker_members import Members
from keyturn.fleets.docker_state import StateFile
from keyturn.model import VersionRef

_EVER = float("inf")
_START = 60.0  # seconds that an engine may take over a restart, beside the time to stop


async def restart(members: Members, state: StateFile, name: str, credential: str, version: VersionRef) -> None:
    """One member, until it is ready with this version. RollFailedError: it is not within `roll_timeout`."""
    until = members.clock() + members.settings.roll_timeout.total_seconds()
    restarted = False
    while True:
        container = (await members.pair(name)).old
        if container is None:
            raise RollFailedError(f"{name} is gone", remedy="start it again, or leave it: then it is no member any more")
        if not container.is_up:
            await _start_again(members, state, container)
        loaded = await state.loaded(container) if container.runs else None
        serves = (loaded or {}).get(credential)
        if serves == version and await members.is_ready(container):
            return
        # What has not said yet what it read may be reading this very version: it is waited for, and not restarted.
        due = loaded is not None and serves != version and not restarted
        if due and not await state.was_asked(container, members.grace + _START):
            await state.ask(container, version.fingerprint)
            await members.engine.restart(container.id, members.grace)
            restarted = True
            continue
        if members.clock() > until:
            raise members.late(name, credential, _why(loaded is not None, serves, version))
        await members.pause(members.settings.poll_interval.total_seconds())


async def _start_again(members: Members, state: StateFile, container: Container) -> None:
    """It is down: between the two halves of a restart, which the engine does, or has died over. RollFailedError: it was
    stopped by somebody else."""
    if await state.was_asked(container, members.grace + _START):
        return
    if not await state.was_asked(container, _EVER):
        raise RollFailedError(
            f"{container.name} is stopped, and not by keyturn", remedy="start it, or remove it: then it is no member"
        )
    await members.engine.start(container.id)


def _why(told: bool, serves: VersionRef | None, version: VersionRef) -> str:
    if serves == version:
        return "it read it, and is not ready"
    return "it read another one" if told else "it has not said which it read"
