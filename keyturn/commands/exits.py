"""How a command ends: exit codes that a script can act on, and errors without a traceback."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NoReturn

from rich.console import Console

from keyturn.config import ConfigError
from keyturn.errors import KeyturnError, MisconfiguredError


class Exit(IntEnum):
    """The exit codes, as `keyturn --help` lists them."""

    DONE = 0
    UNEXPECTED = 1
    MISCONFIGURED = 2
    BEFORE_PIVOT = 3
    AFTER_PIVOT = 4
    REVOCATION_PENDING = 5
    NOT_WELL = 6


AFTER_PIVOT_STEPS = ("tidy", "roll", "prove", "revoke", "retire")

errors = Console(stderr=True, highlight=False, soft_wrap=True)
console = Console(highlight=False, soft_wrap=True)


def leave(code: Exit) -> NoReturn:
    """End now. Output is flushed; what Prefect's background threads still do is not waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    raise SystemExit(int(code))


@contextmanager
def reported(as_json: bool = False, step: list[str] | None = None) -> Iterator[None]:
    """Turn an error of ours into a message and an exit code. `step`: its last item names where the run was."""
    try:
        yield
    except KeyturnError as error:
        where = step[-1] if step else ""
        if as_json:
            console.print_json(json.dumps({"error": error.message, "remedy": error.remedy, "step": where}))
        else:
            errors.print(f"[bold red]stopped{' at ' + where if where else ''}:[/] {_plain(error.message)}")
            if error.remedy:
                errors.print(f"[bold]what to do:[/] {_plain(error.remedy)}")
        leave(_code(error, where))


def _code(error: KeyturnError, where: str) -> Exit:
    if isinstance(error, ConfigError) or (isinstance(error, MisconfiguredError) and not where):
        return Exit.MISCONFIGURED
    return Exit.AFTER_PIVOT if where in AFTER_PIVOT_STEPS else Exit.BEFORE_PIVOT


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
