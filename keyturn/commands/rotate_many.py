"""keyturn rotate of many credentials: the flow rotate_many, from the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import typer
from rich.markup import escape

from keyturn import config
from keyturn.assembly import Line
from keyturn.commands import flows
from keyturn.commands.exits import AFTER_PIVOT_STEPS, Exit, console, leave, print_data, reported
from keyturn.commands.options import duration
from keyturn.commands.respond import listen
from keyturn.errors import KeyturnError, MisconfiguredError

_ROLLED_BACK, _PENDING = "rolled back", "rotated, revocation pending"  # of `flows.outcome.Result`


@dataclass(frozen=True, slots=True)
class Typed:
    """Which, and how, as it was typed."""

    names: tuple[str, ...]
    every: bool
    provider: str | None
    due: bool
    reason: str
    overlap: str | None
    dry_run: bool


def rotate_many(typed: Typed, wait: bool, as_json: bool) -> None:
    """Rotate them side by side; ends with the code of the one that is furthest from its end."""
    if wait:
        raise typer.BadParameter("--wait is for one credential: the old keys of many are ended by a sweep")
    if not (typed.names or typed.every or typed.provider or typed.due):
        raise typer.BadParameter("name the credentials, or give --provider NAME, --due or --all")
    lines = listen(as_json)
    with reported(as_json, lines, Exit.BEFORE_PIVOT):
        _checked(typed)
        flow = flows.load("flows.rotate_many", "rotate_many")
        given = {"provider": typed.provider, "every": typed.every, "due": typed.due, "reason": typed.reason}
        try:
            rows = flows.run(flow, credentials=list(typed.names), overlap=typed.overlap, dry_run=typed.dry_run, **given)
        except KeyturnError as error:
            rows = getattr(error, "rows", None)
            if rows is None:
                raise
    _show(rows, lines, as_json)
    leave(min((_code(row, lines) for row in rows), default=Exit.DONE, key=_distance))


def _checked(typed: Typed) -> None:
    known = config.load()
    for name in typed.names:
        known.credential(name)
    if typed.provider is not None and typed.provider not in known.providers:
        raise MisconfiguredError(
            "no provider of that name in keyturn.yaml", remedy=f"use one of: {', '.join(known.providers)}"
        )
    if typed.overlap is not None:
        duration("--overlap", typed.overlap)


def _show(rows: Sequence[Any], lines: Sequence[Line], as_json: bool) -> None:
    if as_json:
        print_data({"outcomes": [asdict(row) for row in rows], "timeline": [asdict(line) for line in lines]})
        return
    for row in sorted(rows, key=lambda row: bool(row.failed)):
        console.print(f"[bold {'red' if row.failed else 'green'}]{row.credential}: {row.result}[/]: " + escape(row.sentence))
        if row.failed and row.next:
            console.print(f"[bold]what to do:[/] {escape(row.next)}")
    failed = [row.credential for row in rows if row.failed]
    if failed:
        console.print(f"{len(failed)} of {len(rows)} failed. These alone: keyturn rotate {' '.join(failed)}")
    elif not rows:
        console.print("nothing is due")


def _code(row: Any, lines: Sequence[Line]) -> Exit:
    """As the same rotation alone would end."""
    if not row.failed:
        return Exit.REVOCATION_PENDING if row.result == _PENDING else Exit.DONE
    if row.result == _ROLLED_BACK:
        return Exit.ROLLED_BACK
    promoted = any(line.credential == row.credential and line.step in AFTER_PIVOT_STEPS for line in lines)
    return Exit.AFTER_PIVOT if promoted else Exit.BEFORE_PIVOT


def _distance(code: Exit) -> int:
    """From the end: what failed before the new key was promoted is furthest."""
    order = (Exit.BEFORE_PIVOT, Exit.ROLLED_BACK, Exit.AFTER_PIVOT, Exit.REVOCATION_PENDING, Exit.DONE)
    return order.index(code)
