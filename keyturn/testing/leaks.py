"""Search for key text where it must not be: files, databases, processes' environments and command lines.

A needle is found raw, in hex, base64 (any alignment, both alphabets), URL- and JSON-escaped, and so is any 12 characters
of it. What a search of this kind cannot see: text that is compressed or encrypted.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from keyturn.testing.cells import SQLITE_MAGIC, Cell, by_column, sqlite_cells

SLICE = 12


@dataclass(frozen=True, slots=True)
class Leak:
    """Where key text was found, and how many bytes of it."""

    place: str
    bytes_found: int


class Needles:
    """What to look for. ValueError for a text shorter than 12 characters: too short to tell it from chance."""

    def __init__(self, texts: Iterable[str]) -> None:
        forms: set[bytes] = set()
        for text in texts:
            if len(text) < SLICE:
                raise ValueError("a needle has 12 characters or more")
            for start in range(len(text) - SLICE + 1):
                forms.update(_forms(text[start : start + SLICE]))
        self._forms = sorted(forms)

    def count(self, data: bytes) -> int:
        """How many bytes of `data` are key text, in any form; overlapping finds are counted once."""
        spans = sorted(span for form in self._forms for span in _finds(data, form))
        total, end = 0, -1
        for begin, stop in spans:
            total += max(0, stop - max(begin, end))
            end = max(end, stop)
        return total


def _forms(piece: str) -> set[bytes]:
    raw = piece.encode()
    # 12 bytes are 16 base64 digits without padding. In a longer text every third piece starts on a digit's boundary,
    # so the pieces together cover every alignment.
    return {
        raw,
        raw.hex().encode(),
        base64.b64encode(raw),
        base64.urlsafe_b64encode(raw),
        quote(piece, safe="").encode(),
        json.dumps(piece)[1:-1].encode(),
    }


def _finds(data: bytes, form: bytes) -> Iterator[tuple[int, int]]:
    at = data.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = data.find(form, at + 1)


def in_folder(needles: Needles, folder: Path, *, but: Iterable[Path] = ()) -> list[Leak]:
    """Every file below a folder: its name and its bytes; of SQLite databases also every cell, since a text that is
    stored across two pages is not whole in the bytes."""
    left_out = {path.resolve() for path in but}
    found: list[Leak] = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.resolve() in left_out:
            continue
        data = path.read_bytes()
        found.append(Leak(f"file {path.relative_to(folder)}", needles.count(data)))
        found.append(Leak(f"name of file {path.relative_to(folder)}", needles.count(path.name.encode())))
        if data.startswith(SQLITE_MAGIC):
            found += in_cells(needles, path.name, sqlite_cells(path))
    return [leak for leak in found if leak.bytes_found]


def in_cells(needles: Needles, database: str, cells: Iterable[Cell]) -> list[Leak]:
    """Every cell of a database, by its table and column."""
    found = [Leak(f"{database}: {place}", needles.count(data)) for place, data in by_column(cells).items()]
    return [leak for leak in found if leak.bytes_found]


def in_processes(needles: Needles, processes: Iterable[int]) -> list[Leak]:
    """The environment and the command line of running processes, by their ids. One that has ended is passed over."""
    found: list[Leak] = []
    for pid in processes:
        for name in ("environ", "cmdline"):
            with suppress(OSError):
                found.append(Leak(f"{name} of process {pid}", needles.count(Path(f"/proc/{pid}/{name}").read_bytes())))
    return [leak for leak in found if leak.bytes_found]


def descendants(root: int) -> dict[int, int]:
    """Every process started by `root`, directly or not: its id, and its parent's."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
    found: dict[int, int] = {}
    queue = [root]
    while queue:
        parent = queue.pop()
        for pid, its_parent in parents.items():
            if its_parent == parent and pid not in found:
                found[pid] = parent
                queue.append(pid)
    return found
