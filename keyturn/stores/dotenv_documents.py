"""Where DotenvFile keeps the two documents of one value: the file itself, and a folder of keyturn's own beside it.

    <folder>/<path>                                what programs read: variables, or the text of one key
    <folder>/<dir>/.<name>.keyturn/                for its owner alone (0700)
        lock                                       see safe_file
        <FIELD>.staged.json, <FIELD>.notes.json    the second document, and the notes (`_value` for a whole file)
        scratch                                    what is being written; after a crash it is left over until the next write

Every write of ours holds the lock. A person's editor does not: what it saves in the instant between our last look and our
rename is lost, which is a matter of microseconds.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from keyturn.durations import text as duration_text
from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, NotFoundError, UnavailableError
from keyturn.json_object import UnreadableError, json_object, texts
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef
from keyturn.stores import safe_file
from keyturn.stores.dotenv_lines import AmbiguousError
from keyturn.stores.dotenv_text import NAME, demand_plain, value_of, with_value
from keyturn.stores.replaceable import obstacle
from keyturn.stores.safe_file import Found
from keyturn.stores.two_documents import Beside, Main, parsed, printed

T = TypeVar("T")

_WHOLE_NAME = "_value"
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_PASSES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR, errno.ESTALE)


class Documents:
    """`TwoDocuments` over files below one folder. Blocking I/O runs in threads."""

    def __init__(self, folder: Path, lock_timeout: Any) -> None:
        self._folder, self._lock_timeout = folder, lock_timeout

    def demand_fit(self, secret: SecretRef, material: KeyMaterial) -> None:
        self._demand_replaceable(secret)
        if secret.field is not None:
            _told(secret, lambda: demand_plain(material.reveal()))

    async def main(self, secret: SecretRef) -> Main:
        found = await self._run(secret, lambda: safe_file.read(self.file(secret)))
        return self._main_of(secret, found)

    async def write_main(self, secret: SecretRef, main: Main, material: KeyMaterial) -> str | None:
        def change(text: str) -> str:
            if secret.field is not None:
                return with_value(text, secret.field, material.reveal())
            end = text[len(_without_end(text)) :]  # a newline that was there stays
            return material.reveal() + end

        return await self._write(secret, main, change)

    async def touch_main(self, secret: SecretRef, main: Main) -> str | None:
        return await self._write(secret, main, lambda text: text)

    async def beside(self, secret: SecretRef) -> Beside:
        path = self._beside(secret) / f"{_name(secret)}.staged.json"
        found = await self._run(secret, lambda: safe_file.read(path))
        if not found.number:
            return Beside()
        try:
            return parsed(json_object(found.content), found.number)
        except UnreadableError:
            raise MisconfiguredError(
                f"{path} was changed by somebody else, and cannot be read",
                remedy="look what stands there, then remove that file: keyturn makes a new one",
            ) from None

    async def write_beside(self, secret: SecretRef, beside: Beside) -> str | None:
        content = json.dumps(printed(beside)).encode()
        path = self._beside(secret) / f"{_name(secret)}.staged.json"

        def write() -> str | None:
            seen = safe_file.read(path)
            return self._replace(secret, path, seen, content) if seen.number == beside.number else None

        return await self._locked(secret, write)

    async def annotate(self, secret: SecretRef, notes: Mapping[str, str | None]) -> None:
        """Read, merged and written under the lock: no note of anybody is lost."""
        path = self._notes(secret)

        def write() -> None:
            seen = safe_file.read(path)
            merged = {**self._notes_of(path, seen), **notes}
            kept = {name: value for name, value in merged.items() if value is not None}
            self._replace(secret, path, seen, json.dumps(kept).encode())

        await self._locked(secret, write)

    async def annotations(self, secret: SecretRef) -> Mapping[str, str]:
        path = self._notes(secret)
        return self._notes_of(path, await self._run(secret, lambda: safe_file.read(path)))

    def file(self, secret: SecretRef) -> Path:
        """MisconfiguredError for a path that leads out of the folder, and for a field that is no variable."""
        parts = secret.path.split("/")
        if any(part in ("", ".", "..") for part in parts) or parts[-1].endswith(".keyturn"):
            raise MisconfiguredError(
                f"{secret.path} is no path below the folder", remedy="use names joined by single slashes"
            )
        if secret.field is not None and not NAME.fullmatch(secret.field):
            raise MisconfiguredError(f"{secret}: the field is no name of a variable", remedy="use A-Z, 0-9 and _")
        path = self._folder.joinpath(*parts)
        if path.parent.resolve() != self._folder.resolve().joinpath(*parts[:-1]):
            raise MisconfiguredError(
                f"{secret.path} leads out of the folder by a link", remedy="name the folder that it is in"
            )
        return path

    def _demand_replaceable(self, secret: SecretRef) -> None:
        path = self.file(secret)
        if found := obstacle(path):
            raise MisconfiguredError(f"{path} cannot be replaced: {found[0]}", remedy=found[1])

    def _beside(self, secret: SecretRef) -> Path:
        path = self.file(secret)
        return path.with_name(f".{path.name}.keyturn")

    def _notes(self, secret: SecretRef) -> Path:
        return self._beside(secret) / f"{_name(secret)}.notes.json"

    def _main_of(self, secret: SecretRef, found: Found) -> Main:
        text, field = found.content.decode(errors="surrogateescape"), secret.field
        value = _without_end(text) if field is None else _told(secret, lambda: value_of(text, field))
        missing = None
        if not found.number or value is None:
            what = f"{self.file(secret)} does not exist" if not found.number else f"{secret} is not set there"
            missing = NotFoundError(
                f"{secret}: {what}", remedy="write the key that is in use there first: `keyturn put` does"
            )
        return Main(found.number, value, missing)

    def _notes_of(self, path: Path, found: Found) -> dict[str, str]:
        if not found.number:
            return {}
        try:
            return texts(json_object(found.content))
        except UnreadableError:
            raise MisconfiguredError(
                f"{path} was changed by somebody else, and cannot be read", remedy="look what stands there, then remove it"
            ) from None

    async def _write(self, secret: SecretRef, main: Main, change: Callable[[str], str]) -> str | None:
        path = self.file(secret)

        def write() -> str | None:
            self._demand_replaceable(secret)
            seen = safe_file.read(path)
            if seen.number != main.number:
                return None
            text = seen.content.decode(errors="surrogateescape")
            return self._replace(secret, path, seen, change(text).encode(errors="surrogateescape"))

        return await self._locked(secret, write, creates=not main.number)

    def _replace(self, secret: SecretRef, path: Path, seen: Found, content: bytes) -> str:
        return safe_file.replace(path, seen, content, self._beside(secret) / "scratch")

    async def _locked(self, secret: SecretRef, write: Callable[[], T], *, creates: bool = False) -> T:
        folder = self._beside(secret)

        def run() -> T:
            safe_file.make_folder(folder, with_parents=creates)
            with safe_file.locked(folder / "lock", self._lock_timeout.total_seconds()):
                return write()

        return await self._run(secret, run)

    async def _run(self, secret: SecretRef, act: Callable[[], T]) -> T:
        """In a thread. What the system says is told in our words."""
        error: KeyturnError
        try:
            return await asyncio.to_thread(act)
        except safe_file.BusyError:
            error = UnavailableError(
                f"{secret}: another process has held the lock for {duration_text(self._lock_timeout)}",
                remedy="look which one is stopped in the middle of a write",
            )
        except safe_file.TooLargeError:
            error = MisconfiguredError(f"{self.file(secret)} is too large", remedy="is it a file of variables?")
        except safe_file.LinkError:
            error = MisconfiguredError(
                f"{self.file(secret)}, or what keyturn keeps beside it, is no regular file", remedy="name the file itself"
            )
        except safe_file.FolderError:
            error = MisconfiguredError(
                f"{self._beside(secret)} is no folder for this user alone",
                remedy="it holds keys: look who made it; if it was you, chmod 700",
            )
        except OSError as failure:
            error = _translated(self.file(secret), failure)
        raise error


def _translated(path: Path, failure: OSError) -> KeyturnError:
    what = errno.errorcode.get(failure.errno or 0, "OSError")
    if failure.errno in _REFUSED:
        return DeniedError(
            f"{path} and the folder beside it cannot be read or written by this user ({what})",
            remedy="run keyturn as the owner of the file, in a folder that it may write",
        )
    if failure.errno in _PASSES:
        return UnavailableError(f"{path} cannot be read or written now ({what})", remedy="look at the disk")
    remedy = "check folder and path; in a container mount the folder, not the file alone"
    return MisconfiguredError(f"{path} cannot be read or written ({what})", remedy=remedy)


def _told(secret: SecretRef, look: Callable[[], T]) -> T:
    """What `look` gives. MisconfiguredError for what readers take differently."""
    try:
        return look()
    except AmbiguousError as error:
        fault = error
    raise MisconfiguredError(
        f"{secret}: {fault}, and programs that read such files take that differently", remedy=fault.remedy
    )


def _name(secret: SecretRef) -> str:
    return secret.field or _WHOLE_NAME


def _without_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")
