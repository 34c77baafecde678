"""The cells of a database: what a search for leaks reads, since in the raw files a text may be compressed or in pieces."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

Cell = tuple[str, bytes]
"""Where it stands, as "table.column", and what it holds."""

SQLITE_MAGIC = b"SQLite format 3\0"


def sqlite_cells(path: Path) -> Iterator[Cell]:
    """Every text and blob of every table; the file may be in use."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as database:
        database.text_factory = bytes
        tables = [name.decode() for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            with suppress(sqlite3.OperationalError):  # a virtual table's shadow may not be readable
                rows = database.execute(f'select * from "{table}"')
                columns = [column[0] for column in rows.description]
                for row in rows:
                    for column, cell in zip(columns, row, strict=True):
                        if isinstance(cell, bytes):
                            yield f"{table}.{column}", cell


def by_column(cells: Iterable[Cell]) -> dict[str, bytes]:
    """All cells of a column in one text, with an empty line between: quicker to search than one by one, and a scanner that
    reads a text in pieces cuts none of them in two."""
    columns: dict[str, list[bytes]] = defaultdict(list)
    for place, cell in cells:
        columns[place].append(cell)
    return {place: b"\n\n".join(values) for place, values in columns.items()}
