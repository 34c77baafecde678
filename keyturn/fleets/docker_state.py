"""What stands in a container beside its program: which keys it read when it started, and which restart it was asked for.

Both go through the engine's archive calls, so nothing has to be run in the container, and nothing mounted.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from keyturn.fleets.docker_container import Container
from keyturn.fleets.docker_engine import Engine
from keyturn.fleets.launched import versions_of
from keyturn.json_object import UnreadableError, inside, iso, json_object
from keyturn.model import VersionRef

_LARGEST = 65536  # bytes
_NOTE = ".restart"  # behind the name of the state file


class StateFile:
    """The file that `keyturn exec --state` writes in each container, and a note of ours beside it. `now`: seconds since
    1970."""

    def __init__(self, engine: Engine, path: Path, now: Callable[[], float] = time.time) -> None:
        self._engine, self.path, self._now = engine, path, now

    async def loaded(self, container: Container) -> Mapping[str, VersionRef] | None:
        """What this run of its program was started with; None: it has not said so yet.

        A file that is older than the end of the run before (see `this_run_since`) is that run's. Both times are of one
        clock, the engine's machine's.
        """
        if self.unseen(container):
            return None
        found = await self._engine.read(container.id, str(self.path))
        if found is None:
            return None
        content, told = found
        try:
            if iso(inside(json_object(base64.b64decode(told)), "mtime")) <= container.this_run_since:
                return None
            return versions_of(_only_file(content))
        except (UnreadableError, binascii.Error):
            return None

    def unseen(self, container: Container) -> str:
        """The mount of the container that the file is in, "" where it is in none. What is on a tmpfs the engine does not
        see, and a volume may be another container's, too: it is believed in the container's own files alone."""
        mounts = [str(inside(each, "Destination")) for each in container.document.get("Mounts") or []]
        mounts += list(container.host_config.get("Tmpfs") or {})
        return next((each for each in mounts if self.path.is_relative_to(each)), "")

    async def was_asked(self, container: Container, seconds: float) -> bool:
        """Whether a restart away from this very start was asked for, not longer ago than this.

        For whatever key: what starts after it reads all of them.
        """
        found = await self._engine.read(container.id, f"{self.path}{_NOTE}")
        if found is None:
            return False
        try:
            note = json_object(_only_file(found[0]))
        except UnreadableError:
            return False
        asked = note.get("at")
        if note.get("started") != container.started_at:
            return False
        return isinstance(asked, int | float) and abs(self._now() - asked) < seconds

    async def ask(self, container: Container, fingerprint: str) -> None:
        """Write down that a restart is about to be asked for: whoever comes next waits for it, and asks for no second."""
        note = {"fingerprint": fingerprint, "started": container.started_at, "at": self._now()}
        archive = _archive(f"{self.path.name}{_NOTE}", json.dumps(note).encode())
        await self._engine.write(container.id, str(self.path.parent), archive)


def _only_file(archive: bytes) -> bytes:
    """The content of the one file in a tar archive. UnreadableError for anything else."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            first = tar.next()
            file = tar.extractfile(first) if first is not None and first.isreg() and first.size <= _LARGEST else None
            if file is not None:
                return file.read()
    except (tarfile.TarError, OSError, ValueError):
        pass
    raise UnreadableError


def _archive(name: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = len(content), 0o644, int(time.time())
        tar.addfile(member, io.BytesIO(content))
    return made.getvalue()
