"""Keys as files that LiteLLM reads at each request: one for each variable, replaced as a whole, gone when the program is.

LiteLLM 1.109.1 resolves `api_key: oidc/file//ABSOLUTE/PATH` anew for every request (measured): the path must be below a
folder of LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS, and a newline at the end of the file would be sent as part of the key.
Meant for a tmpfs: a deleted file's bytes stay on a disk.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from keyturn.errors import MisconfiguredError, UnavailableError
from keyturn.material import KeyMaterial

ALLOWED_FOLDERS = "LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS"

_DRAFT = ".keyturn-"


class KeyFiles:
    """A folder of key files (0600, in a folder 0700 of this user's), written by one supervisor at a time."""

    def __init__(self, folder: Path) -> None:
        """MisconfiguredError for a folder that LiteLLM could not be told of: its list of folders is one text."""
        self.folder = Path(os.path.realpath(folder))
        if not folder.is_absolute() or "," in str(self.folder) or str(self.folder) != str(self.folder).strip():
            raise MisconfiguredError(
                "--keys-folder must be an absolute path without a comma in it", remedy="use a folder of its own on a tmpfs"
            )
        self._lock: int | None = None
        self._written: set[Path] = set()

    def prepare(self) -> None:
        """Make the folder, take it for this supervisor, and remove the drafts of one that was killed.

        MisconfiguredError: others may look into it, it belongs to another user, or another supervisor has it.
        """
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            found = self.folder.stat()
            if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise MisconfiguredError(
                    f"{self.folder} is not for this user alone", remedy="use a folder of its own, with mode 0700"
                )
            self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for draft in self.folder.glob(f"{_DRAFT}*"):
                draft.unlink()
        except BlockingIOError:
            raise MisconfiguredError(
                f"another `keyturn exec` keeps its keys in {self.folder}", remedy="give each member a folder of its own"
            ) from None
        except OSError as error:
            raise MisconfiguredError(
                f"{self.folder} cannot be used for keys: {error.strerror}", remedy="name a folder whose parent is there"
            ) from None

    def put(self, name: str, material: KeyMaterial) -> None:
        """Put the key where LiteLLM finds it: as a whole, or not at all. UnavailableError: it could not be written."""
        path = self.folder / name
        draft = self.folder / f"{_DRAFT}{secrets.token_hex(8)}"
        failure = ""
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(material.reveal().encode())
            draft.replace(path)
        except OSError as error:
            failure = error.strerror or type(error).__name__
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        if failure:
            raise UnavailableError(
                f"{path} cannot be written: {failure}", remedy="make room there; the key is kept as it was"
            )
        self._written.add(path)

    def withdraw(self, name: str) -> None:
        """Take one away: a request that would have sent it fails in LiteLLM."""
        with suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)

    def environment(self, inherited: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
        """The program's: without the keys' variables, and with the folder among those that LiteLLM may read."""
        allowed = [str(self.folder), *filter(None, [inherited.get(ALLOWED_FOLDERS)])]
        return {
            **{name: value for name, value in inherited.items() if name not in names},
            ALLOWED_FOLDERS: ",".join(allowed),
        }

    def remove(self) -> None:
        """Take the keys away: nobody reads them any more."""
        for path in self._written:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        self._written.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
