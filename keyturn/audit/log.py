"""Appending to the audit log: under a lock that every process of this machine respects, and on the disk when it returns.

A line that a killed process left half written stays as it is, and a record of its own says so: which bytes they were, by
their hash. A write that fails (a full disk) is taken back.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from keyturn.audit.files import aside, files_of, last_line, synced
from keyturn.audit.record import Act, Entry
from keyturn.audit.seal import BEGINNING, Seal
from keyturn.errors import PermanentError, UnavailableError
from keyturn.file_lock import try_lock

LARGEST = 16 * 1024 * 1024  # bytes
LOCK_SECONDS = 5.0
_POLL_SECONDS = 0.02
_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Head:
    """The last record: whoever notes it elsewhere sees later whether the log still has it."""

    number: int = 0
    hash: str = BEGINNING


@dataclass(frozen=True, slots=True)
class AuditLog:
    """One log on this machine's disk. `largest`, `oldest`: when its file is put aside, and another begun."""

    path: Path
    seal: Seal
    largest: int = LARGEST
    oldest: timedelta | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def append(self, entry: Entry) -> Head:
        """Write it down. Blocks: for the lock, some seconds at most, and for the disk.

        UnavailableError where it cannot be written; then nothing was. PermanentError where the file's last line is not one
        that was sealed like this: nothing is added to what somebody changed.
        """
        try:
            with self._locked():
                return self._append(entry)
        except OSError as error:
            raise self._unwritable(error) from None

    def can_append(self) -> None:
        """Look whether the next record could be written, and write nothing but the lock's file. Raises as `append` does."""
        try:
            with self._locked():
                self._look()
            if not os.access(self.path if self.path.exists() else self.path.parent, os.W_OK):
                raise PermissionError
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"the audit log cannot be written ({type(error).__name__})",
            remedy=f"look at {self.path}: its folder, its permissions, the disk",
        )

    def _append(self, entry: Entry) -> Head:
        head, rest = self._look()
        whole = self._completed(head, rest)
        if not rest and self._is_full():
            self._put_aside(head.number)
        is_new = not self.path.exists()
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _MODE)
        try:
            if whole is not None:
                head = self._write(file, entry, whole, b"\n")
            elif rest:
                told = {"bytes": str(len(rest)), "sha256": hashlib.sha256(rest).hexdigest()}
                head = self._write(file, Entry(self.now(), Act.TORN, "", {}, told), head, b"\n")
                head = self._write(file, entry, head)
            else:
                head = self._write(file, entry, head)
        finally:
            os.close(file)
        if is_new:
            synced(self.path.parent)
        return head

    def _look(self) -> tuple[Head, bytes]:
        """The last whole record of the newest file that has one, and what a killed process left after it."""
        rest = b""
        for path in reversed(files_of(self.path)):
            file = os.open(path, os.O_RDONLY)
            try:
                line, after = last_line(file)
            finally:
                os.close(file)
            if path == self.path:
                rest = after
            if line:
                return self._head(line), rest
        return Head(), rest

    def _completed(self, head: Head, rest: bytes) -> Head | None:
        """Where only the end of the line is missing, the record itself is there."""
        try:
            data = self.seal.read(rest)
        except ValueError:
            return None
        return Head(data["number"], data["hash"]) if data["previous"] == head.hash else None

    def _put_aside(self, number: int) -> None:
        there = aside(self.path, number)
        if there.exists():
            raise FileExistsError  # nothing of a log is ever overwritten
        self.path.rename(there)

    def _head(self, line: bytes) -> Head:
        try:
            data = self.seal.read(line)
        except ValueError as error:
            raise PermanentError(
                f"the audit log's last line {error}",
                remedy=f"keep {self.path} and what `keyturn audit verify` says; then move its files away: a new one begins",
            ) from None
        return Head(data["number"], data["hash"])

    def _is_full(self) -> bool:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return False
        return found.st_size >= self.largest or (self.oldest is not None and self._began_before(self.oldest))

    def _began_before(self, age: timedelta) -> bool:
        with self.path.open("rb") as file:
            line = file.readline().rstrip(b"\n")
        try:
            first: dict[str, Any] = self.seal.read(line)
            return datetime.fromisoformat(first["at"]) + age <= self.now()
        except ValueError:
            return False  # that is for verify to say

    def _write(self, file: int, entry: Entry, head: Head, before: bytes = b"") -> Head:
        line = before + self.seal.line(entry.as_data(), head.number + 1, head.hash)
        size = os.fstat(file).st_size
        try:
            written = 0
            while written < len(line):
                written += os.write(file, line[written:])
            os.fsync(file)
        except OSError:
            os.ftruncate(file, size)
            raise
        return self._head(line.strip(b"\n"))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """A file of its own, since the log's is renamed. The lock ends with the process that has it."""
        lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, _MODE)
        try:
            until = time.monotonic() + LOCK_SECONDS
            while not try_lock(lock):
                if time.monotonic() >= until:
                    raise BlockingIOError
                time.sleep(_POLL_SECONDS)
            yield
        finally:
            os.close(lock)
