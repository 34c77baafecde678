"""One run of a worker: the flow, as `keyturn rotate --wait` runs it, and what it came to in a file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

# Imported in the nursery, where there is no keyturn.yaml: a credential's name is any name then (flows/parameters.py).
from flows.retire import retire
from flows.rotate import rotate
from keyturn import progress
from keyturn.assembly import Line
from keyturn.commands import flows


def preload(modules: Iterable[str]) -> None:
    for name in modules:
        import_module(name)


def run(asked: dict[str, Any], told: Path) -> int:
    """Rotate, wait for the end of the overlap, retire. `asked`: the parameters of the flow. The exit code: 0 or 1."""
    lines: list[str] = []

    def listen(line: Line) -> None:
        lines.append(f"{line.step}: {line.sentence}")

    progress.listeners.append(listen)
    code, outcome = 0, {}
    try:
        found = flows.run(rotate, **asked)
        if found.retire_after is not None:
            time.sleep(max(0.0, (found.retire_after - datetime.now(UTC)).total_seconds()) + 1)
            found = flows.run(retire, credential=asked["credential"], now=False)
        outcome = {"result": str(found.result), "sentence": found.sentence}
    except Exception as error:
        code, outcome = 1, {"error": type(error).__name__, "sentence": str(error)}
    told.write_text(json.dumps({**outcome, "timeline": lines}))
    return code
