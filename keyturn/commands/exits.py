"""How a command ends: exit codes that a script can act on, and errors without a traceback."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape

from keyturn import faults
from keyturn.assembly import Line
from keyturn.errors import KeyturnError, MisconfiguredError, RolledBackError


class Exit(IntEnum):
    """The exit codes, as `keyturn --help` lists them."""

    DONE = 0
    UNEXPECTED = 1
    MISCONFIGURED = 2
    BEFORE_PIVOT = 3
    AFTER_PIVOT = 4
    REVOCATION_PENDING = 5
    NOT_WELL = 6
    ROLLED_BACK = 7


# A line of one of these steps is only ever said with the new key promoted. (`promote` speaks after the swap, not before.)
AFTER_PIVOT_STEPS = ("promote", "tidy", "roll", "prove", "rollback", "revoke", "retire")

_ASIDE = ("undo", "failure", "audit")  # what follows upon a failure, or is said beside

errors = Console(stderr=True, highlight=False, soft_wrap=True)
# A pipe has no width of its own: tables are not folded for it.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


def leave(code: Exit) -> NoReturn:
    """End now. Output is flushed; what Prefect's background threads still do is not waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    raise SystemExit(int(code))


def print_data(data: Any) -> None:
    """JSON for a script: no colour and no line broken, whatever the terminal."""
    sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")


@contextmanager
def reported(as_json: bool = False, timeline: Sequence[Line] = (), failed: Exit = Exit.NOT_WELL) -> Iterator[None]:
    """Turn an error into a message and an exit code.

    `failed`: the code for an error of ours that is no misconfiguration; BEFORE_PIVOT becomes AFTER_PIVOT when the
    timeline got so far. Any other error is a fault of keyturn's: it is named without its text.
    """
    try:
        yield
    except KeyturnError as error:
        where = _where(timeline)
        _tell(as_json, where, error.message, error.remedy)
        leave(_code(error, where, failed))
    except Exception as error:
        _tell(as_json, _where(timeline), f"a fault of keyturn's: {faults.describe(error)}", "please report it")
        leave(Exit.UNEXPECTED)


def _where(timeline: Sequence[Line]) -> str:
    # What is undone had stopped before: the step before the undo is where it happened.
    return next((line.step for line in reversed(timeline) if line.step not in _ASIDE), "")


def _tell(as_json: bool, where: str, message: str, remedy: str) -> None:
    if as_json:
        print_data({"error": message, "remedy": remedy, "step": where})
        return
    errors.print(f"[bold red]stopped{' at ' + where if where else ''}:[/] {escape(message)}")
    if remedy:
        errors.print(f"[bold]what to do:[/] {escape(remedy)}")


def _code(error: KeyturnError, where: str, failed: Exit) -> Exit:
    if isinstance(error, MisconfiguredError) and not where:
        return Exit.MISCONFIGURED
    if isinstance(error, RolledBackError):
        return Exit.ROLLED_BACK
    if failed is Exit.BEFORE_PIVOT and where in AFTER_PIVOT_STEPS:
        return Exit.AFTER_PIVOT
    return failed
