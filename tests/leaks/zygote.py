"""Commands of keyturn, each in a process of its own, forked from one in which everything is imported already.

    python -m tests.leaks.zygote

One JSON object a line on stdin: {"words": [...], "env": {...}, "fault": NAME, "moment": [STEP, WORDS], "output": PATH}.
The command's own output goes to PATH.out and PATH.err. On stdout comes {"at": PID} when the run says the line of `moment`
(it then waits for one more line on stdin, or a signal), and at the end {"code": N}.

A command starts in no time this way. Two things are not as in real life: retries and waits are cut short.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import prefect.tasks

from keyturn import cli, progress, registry
from keyturn.assembly import Assembly, Line
from keyturn.commands import flows
from tests.leaks.faults import FAULTS

LONGEST_WAIT = 0.2  # seconds

# What a run would import late: half of the time that it takes.
LATE = (
    "anyio._backends._asyncio",
    "fastapi",
    "graphviz",
    "keyturn.commands.deliver",
    "keyturn.commands.supervise",
    "keyturn.commands.look",
    "keyturn.commands.rotate",
    "keyturn.commands.sweep",
    "prefect.concurrency.v1",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.utilities.visualization",
)


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what it runs in the background
    _hurry()
    for name in ("rotate", "retire", "rollback", "respond", "sweep"):
        flows.load(f"flows.{name}", name)
    for module in LATE:
        import_module(module)
    for section in ("providers", "stores", "proxies"):
        for kind in registry.kinds(section):
            registry.adapter_class(section, kind)
    _say(1, {"ready": True})
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run(json.loads(line))  # leaves by SystemExit, so that what Prefect does at exit is done
        _say(1, {"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})


def _hurry() -> None:
    registry.entry_points = cache(entry_points)  # type: ignore[attr-defined,assignment]
    prefect.tasks.exponential_backoff = lambda first: lambda retries: [0.0] * retries  # type: ignore[assignment]
    made = Assembly.__init__

    async def brief(seconds: float) -> None:
        await asyncio.sleep(min(seconds, LONGEST_WAIT))

    def hurried(self: Assembly, *args: Any, **given: Any) -> None:
        made(self, *args, **{"pause": brief, **given})

    Assembly.__init__ = hurried  # type: ignore[method-assign]


def _run(asked: dict[str, Any]) -> None:
    answers = os.dup(1)
    for number, ending in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{asked['output']}.{ending}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.environ.update(asked["env"])
    if asked["fault"]:
        FAULTS[asked["fault"]]()
    step, words = asked["moment"] or ("", "")

    def look(line: Line) -> None:
        nonlocal step
        if line.step == step and words in line.sentence:
            step = ""
            _say(answers, {"at": os.getpid()})
            sys.stdin.readline()

    progress.listeners.append(look)
    sys.argv = ["keyturn", *asked["words"]]
    cli.main()


def _say(number: int, words: dict[str, Any]) -> None:
    os.write(number, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    sys.argv[0] = str(Path(sys.argv[0]).name)
    main()
