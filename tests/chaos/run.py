"""One run of a worker: a flow, as `keyturn rotate` or `keyturn sweep` runs it, and what it came to in a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

# Imported in the nursery, where there is no keyturn.yaml: a credential's name is any name then (flows/parameters.py).
from flows import turnstile
from flows.retire import retire
from flows.rotate import rotate
from flows.sweep import sweep
from flows.swept import State
from keyturn import progress, settings
from keyturn.assembly import Line
from keyturn.commands import flows
from tests.chaos import clock, person

# For a slot that a killed Prefect server has forgotten: an hour is too long for a test. (A lease lasts one minute.)
turnstile.WAIT_SECONDS = 100
# For a sweep that comes hours later (World.grow_old).
settings._LEAST_AGE = timedelta(0)


def preload(modules: Iterable[str]) -> None:
    for name in modules:
        import_module(name)


def run(asked: dict[str, Any], told: Path) -> int:
    """`asked`: `credential`, `sweep`: whether that instead of a rotation, `wait`: for the end of an overlap. Gives the exit
    code: 0, or 1 where the run raised what stands in the file."""
    lines: list[str] = []

    def listen(line: Line) -> None:
        lines.append(f"{line.step}: {line.sentence}")

    progress.listeners.append(listen)
    code = 0
    try:
        facts = _sweep(asked["credential"]) if asked["sweep"] else _rotate(asked["credential"], asked["wait"])
    except Exception as error:
        code, facts = 1, {"error": type(error).__name__, "sentence": str(error)}
    told.write_text(json.dumps({**facts, "timeline": lines}))
    return code


def _rotate(credential: str, wait: bool) -> dict[str, str]:
    found = flows.run(rotate, credential=credential)
    if wait and found.retire_after is not None:
        clock.wait(found.retire_after)
        found = flows.run(retire, credential=credential, now=False)
    if found.by_hand:
        person.ask(found.sentence)
        found = flows.run(retire, credential=credential, now=False)
    return {"result": str(found.result), "sentence": found.sentence}


def _sweep(credential: str) -> dict[str, str]:
    [row] = (row for row in flows.run(sweep) if row.credential == credential)
    if row.state is State.BY_HAND:
        person.ask(row.sentence)
        [row] = (row for row in flows.run(sweep) if row.credential == credential)
    return {"result": str(row.state), "sentence": "; ".join((row.sentence, *row.drift))}
