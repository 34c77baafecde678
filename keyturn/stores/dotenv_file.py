"""A file of variables, or a file that holds one key: for one machine without a secret manager.

What stands where: dotenv_documents; how it is kept safe: staged_store. Several processes of this machine may use it at
once. Over a network file system it is only as good as that one's flock and rename.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from keyturn.durations import Duration
from keyturn.errors import PermanentError, RetryableError
from keyturn.model import Finding, SecretRef, VersionRef
from keyturn.references import AbsolutePath, Resolver
from keyturn.stores.dotenv_documents import Documents
from keyturn.stores.file_changes import LOOK, another, mark
from keyturn.stores.replaceable import obstacle
from keyturn.stores.staged_store import StagedStore

_FILE, _BESIDE = "<folder>/<path>", "<folder>/.<path>.keyturn/"


class DotenvFile(StagedStore):
    """A SecretStore that TellsChanges.

    Permission needed: to read and replace the file, and to write in its folder; `current` and `changed`: to read it.
    """

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "stages": (f"read {_FILE} and {_BESIDE}", "to read both"),
        "create": (f"replace {_FILE}", "to write in the folder"),
        "stage": (f"replace a file in {_BESIDE}", "to write there"),
        "spend": (f"replace a file in {_BESIDE}", "to write there"),
        "promote": (f"replace a file in {_BESIDE}, then {_FILE}", "to write in the folder"),
        "bar": (f"replace a file in {_BESIDE}", "to write there"),
        "discard": (f"replace a file in {_BESIDE}", "to write there"),
        "annotate": (f"replace a file in {_BESIDE}", "to write there"),
        "annotations": (f"read a file in {_BESIDE}", "to read it"),
        "changed": (f"stat {_FILE}, and read it where it has changed", "to read it"),
    }

    class Settings(BaseModel):
        """`folder`: where the paths of secrets begin. `lock_timeout`: how long another writer is waited for."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        folder: AbsolutePath
        lock_timeout: Duration = timedelta(seconds=10)

    def __init__(self, settings: Settings, resolve: Resolver) -> None:
        self._documents = Documents(settings.folder, settings.lock_timeout)
        super().__init__(self._documents)

    async def preflight(self, secret: SecretRef) -> Sequence[Finding]:
        """Looks whether the value is there, who else may read or replace it, and whether we may."""
        try:
            path = self._documents.file(secret)
            await self.current(secret)
            await self.stages(secret)
            await self.annotations(secret)
        except PermanentError as error:
            return [Finding(f"{secret} can be read", False, error.message, error.remedy)]
        mode, folder = path.stat().st_mode, path.parent
        open_folder = bool(folder.stat().st_mode & stat.S_IWOTH) and not folder.stat().st_mode & stat.S_ISVTX
        stopped = obstacle(path)
        if stopped is None and not os.access(folder, os.W_OK | os.X_OK):
            stopped = f"{folder} cannot be written", "run keyturn as the owner of that folder"
        return [
            Finding(f"{secret} can be read", True),
            Finding(f"{secret} can be replaced", not stopped, *(stopped or ())),
            Finding(
                f"{folder} is not everybody's",
                not open_folder,
                "everybody may put another file there" if open_folder else "",
                f"chmod o-w {folder}" if open_folder else "",
            ),
            Finding(
                f"{path} is not read by everybody",
                None if mode & stat.S_IROTH else True,
                "its mode lets every user of the machine read it" if mode & stat.S_IROTH else "",
                f"chmod o-r {path}" if mode & stat.S_IROTH else "",
            ),
        ]

    async def changed(self, secret: SecretRef, since: VersionRef) -> None:
        """TellsChanges. Looks at the file twice a second, and reads it where it has changed. Permission needed: to read it.

        A file, a folder or a line that is gone, or cannot be read, is waited for.
        """
        path = await asyncio.to_thread(self._documents.file, secret)
        while True:
            seen = await asyncio.to_thread(mark, path)  # before the read: what is written meanwhile is another one
            try:
                if (await self.current(secret)).version != since:
                    return
            except PermanentError:
                pass  # until somebody changes the file
            except RetryableError:
                await asyncio.sleep(LOOK)  # it may pass, and leave the file as it is
                continue
            await another(path, seen)

    async def aclose(self) -> None:
        """Nothing is open."""
