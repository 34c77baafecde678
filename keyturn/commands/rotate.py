"""keyturn rotate, keyturn retire, keyturn rollback: the flows of one credential, from the terminal."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import typer
from rich.markup import escape

from keyturn import config, progress
from keyturn.assembly import Line
from keyturn.commands import flows
from keyturn.commands.exits import Exit, console, leave, print_data, reported
from keyturn.commands.options import duration
from keyturn.evidence import Waiver


def rotate(name: str, reason: str, overlap: str | None, dry_run: bool, wait: bool, as_json: bool) -> None:
    """Rotate one credential; with `wait`, stay until the overlap is over and the old key is refused."""
    lines = listen(as_json)
    with reported(as_json, lines, Exit.BEFORE_PIVOT):
        config.load().credential(name)
        if overlap is not None:
            duration("--overlap", overlap)
        flow = flows.load("flows.rotate", "rotate")
        outcome = flows.run(flow, credential=name, reason=reason, overlap=overlap, dry_run=dry_run)
    if wait and outcome.retire_after is not None:
        if not as_json:
            console.print(f"waiting until {outcome.retire_after:%H:%M:%S} UTC for the end of the overlap")
        time.sleep(max(0.0, (outcome.retire_after - datetime.now(UTC)).total_seconds()) + 1)
        outcome = _retire(name, False, lines, as_json)
    show_outcome(outcome, lines, as_json)


def retire(name: str, now: bool, force: bool, reason: Waiver | None, as_json: bool) -> None:
    """Revoke the old key of the last rotation, on evidence; with `force` without some of it, for that reason."""
    if force != (reason is not None):
        raise typer.BadParameter(f"--force and --reason go together; a reason is one of: {', '.join(Waiver)}")
    lines = listen(as_json)
    show_outcome(_retire(name, now, lines, as_json, reason), lines, as_json)


def rollback(name: str, as_json: bool) -> None:
    """Serve the previous key again."""
    lines = listen(as_json)
    with reported(as_json, lines, Exit.BEFORE_PIVOT):
        config.load().credential(name)
        outcome = flows.run(flows.load("flows.rollback", "rollback"), credential=name)
    show_outcome(outcome, lines, as_json)


def _retire(name: str, now: bool, lines: list[Line], as_json: bool, force: Waiver | None = None) -> Any:
    with reported(as_json, lines, Exit.REVOCATION_PENDING):
        config.load().credential(name)
        return flows.run(flows.load("flows.retire", "retire"), credential=name, now=now, force=force)


def listen(as_json: bool) -> list[Line]:
    """The timeline, as it grows; printed unless JSON is asked for."""
    lines: list[Line] = []

    def show(line: Line) -> None:
        lines.append(line)
        if not as_json:
            console.print(f"[dim]{line.at:%H:%M:%S}[/] [cyan]{line.step:<9}[/] " + escape(line.sentence))

    progress.listeners.append(show)
    return lines


def show_outcome(outcome: Any, lines: list[Line], as_json: bool) -> None:
    """Print it, and end with its exit code."""
    if as_json:
        facts = {**asdict(outcome), "timeline": [asdict(line) for line in lines]}
        print_data(facts)
    else:
        console.print(f"[bold green]{outcome.result}[/]: " + escape(outcome.sentence))
    leave(Exit.REVOCATION_PENDING if outcome.result.endswith("pending") else Exit.DONE)
