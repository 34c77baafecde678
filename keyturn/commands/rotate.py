"""keyturn rotate, keyturn retire: the flows, from the terminal."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from keyturn import config, progress
from keyturn.assembly import Line
from keyturn.commands import flows
from keyturn.commands.exits import Exit, console, leave, reported


def rotate(name: str, reason: str, overlap: str | None, dry_run: bool, wait: bool, as_json: bool) -> None:
    """Rotate one credential; with `wait`, stay until the overlap is over and the old key is refused."""
    lines = _listen(as_json)
    with reported(as_json, _Steps(lines)):
        config.load().credential(name)
        flow = flows.load("flows.rotate", "rotate")
        outcome = flows.run(flow, credential=name, reason=reason, overlap=overlap, dry_run=dry_run)
        if wait and outcome.retire_after is not None:
            if not as_json:
                console.print(f"waiting until {outcome.retire_after:%H:%M:%S} UTC for the end of the overlap")
            time.sleep(max(0.0, (outcome.retire_after - datetime.now(UTC)).total_seconds()) + 1)
            outcome = flows.run(flows.load("flows.retire", "retire"), credential=name)
    _show(outcome, lines, as_json)


def retire(name: str, now: bool, as_json: bool) -> None:
    """Revoke the old key of the last rotation, on evidence."""
    lines = _listen(as_json)
    with reported(as_json, _Steps(lines)):
        config.load().credential(name)
        outcome = flows.run(flows.load("flows.retire", "retire"), credential=name, now=now)
    _show(outcome, lines, as_json)


class _Steps(list[str]):
    """The steps named by a growing timeline, as `reported` wants them."""

    def __init__(self, lines: list[Line]) -> None:
        super().__init__()
        self._lines = lines

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __getitem__(self, index: Any) -> Any:
        # What is undone had stopped before: the step before the undo is where it happened.
        steps = [line.step for line in self._lines if line.step != "undo"]
        return steps[index] if steps else ""


def _listen(as_json: bool) -> list[Line]:
    lines: list[Line] = []

    def show(line: Line) -> None:
        lines.append(line)
        if not as_json:
            console.print(f"[dim]{line.at:%H:%M:%S}[/] [cyan]{line.step:<9}[/] " + line.sentence.replace("[", "\\["))

    progress.listeners.append(show)
    return lines


def _show(outcome: Any, lines: list[Line], as_json: bool) -> None:
    if as_json:
        facts = {**asdict(outcome), "timeline": [asdict(line) for line in lines]}
        console.print_json(json.dumps(facts, default=str))
    else:
        console.print(f"[bold green]{outcome.result}[/]: " + outcome.sentence.replace("[", "\\["))
    leave(Exit.REVOCATION_PENDING if outcome.result.endswith("pending") else Exit.DONE)
