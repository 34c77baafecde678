"""Whether a log is as it was written: every line sealed, each chained to the one before, over all its files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyturn.audit.log import Head
from keyturn.audit.record import Act
from keyturn.audit.seal import BEGINNING, Seal, parsed_line
from keyturn.errors import PermanentError

_CUT_SHORT = "cut short, as a process that was killed leaves it"


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file; the first is 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found. `fault`: the first bad line, and what is wrong with it; None where all is well.

    `notes`: what is well and still has to be seen: lines that were cut short, files before these that were not looked at.
    `seen`: whether the record that was asked for is there.
    """

    records: int
    head: Head
    notes: tuple[str, ...] = ()
    fault: tuple[Place, str] | None = None
    seen: bool = True

    @property
    def is_well(self) -> bool:
        return self.fault is None and self.seen


class _BrokenError(Exception):
    """At which line, and why."""

    def __init__(self, place: Place, sentence: str) -> None:
        super().__init__(sentence)
        self.place, self.sentence = place, sentence


def verify(files: Sequence[Path], seal: Seal, noted: str = "") -> Verified:
    """Read them in this order, up to the first fault. `noted`: the hash of a record that has to be among them.

    That lines are missing at the end nobody can see from what is left: for that a hash is noted elsewhere.
    """
    walk, fault, seen = _Walk(seal), None, not noted
    try:
        for record in walk.through(files):
            seen = seen or record["hash"] == noted
    except _BrokenError as error:
        fault = (error.place, error.sentence)
    return Verified(walk.count, walk.head, tuple(walk.notes), fault, seen)


def records(files: Sequence[Path], seal: Seal) -> Iterator[dict[str, Any]]:
    """Every record of a log, oldest first. PermanentError at the first that cannot be believed."""
    try:
        yield from _Walk(seal).through(files)
    except _BrokenError as error:
        raise PermanentError(
            f"the audit log cannot be believed from {error.place} on: that line {error.sentence}",
            remedy="`keyturn audit verify` looks at all of it",
        ) from None


class _Walk:
    """From line to line. `torn`: a line that is no record, for which the next one has to answer."""

    def __init__(self, seal: Seal) -> None:
        self.seal, self.head, self.count = seal, Head(), 0
        self.notes: list[str] = []
        self.torn: tuple[Place, bytes] | None = None

    def through(self, files: Sequence[Path]) -> Iterator[dict[str, Any]]:
        last, ends = Place(Path(), 0), True
        for place, line, is_whole in _lines(files):
            last, ends = place, is_whole
            record = self._record(place, line)
            if record is not None:
                self._follows(place, record)
                self.head, self.count = Head(record["number"], record["hash"]), self.count + 1
                yield record
        if self.torn is not None:
            if ends:
                raise _BrokenError(last, "is no record of keyturn's")
            self.notes.append(f"{last}: {_CUT_SHORT}; the next record will say so")

    def _record(self, place: Place, line: bytes) -> dict[str, Any] | None:
        """None for what may have been cut short. That is no way to change a record: a line that still is one has to be
        right, and whatever else stands here has to be answered for by its hash, in the record that follows."""
        torn = self.torn
        try:
            record = self.seal.read(line)
        except ValueError as error:
            if torn is not None:
                raise _BrokenError(torn[0], "is no record of keyturn's") from None
            if _is_a_record(line):
                raise _BrokenError(place, str(error)) from None
            self.torn = place, line
            return None
        if torn is not None:
            where, bytes_of = torn
            told = {"bytes": str(len(bytes_of)), "sha256": hashlib.sha256(bytes_of).hexdigest()}
            if record["act"] != Act.TORN or record["facts"] != told:
                raise _BrokenError(where, "is no record of keyturn's")
            self.notes.append(f"{where}: {_CUT_SHORT}; record {record['number']} says so")
            self.torn = None
        return record

    def _follows(self, place: Place, record: dict[str, Any]) -> None:
        if self.count == 0:
            if record["number"] == 1 and record["previous"] != BEGINNING:
                raise _BrokenError(place, "is said to be the first, and names one before")
            if record["number"] != 1:
                self.notes.append(f"{place}: begins with record {record['number']}; what was before is in another file")
            return
        if record["number"] != self.head.number + 1 or record["previous"] != self.head.hash:
            raise _BrokenError(place, "does not follow the one before: a line was taken out, put in, or stands elsewhere")


def _is_a_record(line: bytes) -> bool:
    try:
        parsed_line(line)
    except ValueError:
        return False
    return True


def _lines(files: Sequence[Path]) -> Iterator[tuple[Place, bytes, bool]]:
    """Each line without its end, and whether it has one."""
    for path in files:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield Place(path, number), line.removesuffix(b"\n"), line.endswith(b"\n")
