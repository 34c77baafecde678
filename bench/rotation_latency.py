"""One rotation with simulated latencies, from its flow's start to promoted, rolled and proved, over the floor of its calls.

    python -m bench.rotation_latency

is a try, which writes nothing. Two members; `keyturn serve` runs it, asked for by Prefect's API. The flow's start is when
Prefect has it running; the time until then, in which a process is started for it, is told beside. How the floor is reckoned:
bench.latency.floor. KEYTURN_BENCH_ROLL_SECONDS (5) shortens the rolls.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.latency.floor import floor, of
from bench.latency.stack import ROOT, Stack, running, until_ended
from keyturn.demo.prefect_api import TERMINAL, PrefectAPI


def measure() -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory(prefix="keyturn-rotation-") as folder, running(Path(folder), 1) as stack:
        stack.start_worker(ROOT)
        details = _rotated(stack)
    return {"rotation_ratio": {"1": details["ratio"]}, "rotation_details": {"1": details}}


def _rotated(stack: Stack) -> Mapping[str, float]:
    name, api = stack.credentials[0].name, PrefectAPI(stack.environ["PREFECT_API_URL"])
    asked = time.time()
    run = asyncio.run(api.start("rotate/keyturn", {"credential": name}))
    ended = until_ended(lambda: {"state": asyncio.run(api.state(run))[0]}, TERMINAL)
    if ended["state"] != "COMPLETED":
        raise RuntimeError(f"the rotation ended {ended['state']}: {asyncio.run(api.state(run))[1]}")
    found = next(each for each in asyncio.run(api.runs("rotate")) if each["id"] == run)
    begun = datetime.fromisoformat(found["start_time"]).timestamp()
    # The last act is the note that every member is proved.
    proved = max(call.end for call in stack.calls.all() if call.acts)
    return figures(proved - begun, floor(of(stack.calls.all(), name, proved, alone=True)), to_start=begun - asked)


def figures(seconds: float, least: float, **more: float) -> Mapping[str, float]:
    """In seconds, and as a ratio."""
    told = {"seconds": round(seconds, 2), "floor": round(least, 2), "ratio": round(seconds / least, 3)}
    return {**told, **{name: round(value, 2) for name, value in more.items()}}


def page(results: Mapping[str, Any]) -> str:
    if "rotation_ratio" not in results:
        return ""
    seen = results["rotation_details"]["1"]
    return (
        "## One rotation, over its calls to the outside\n\n"
        f"From the flow's start to promoted, rolled and proved: {seen['seconds']} s, {seen['ratio']} times the floor of "
        f"{seen['floor']} s, which is the longest chain of its calls that have to wait for one another (a call to the "
        "provider takes 0.3 s, to the store 0.05 s, a completion 0.5 s, a member's roll 5 s; two members). Before that, "
        f"`keyturn serve` took {seen['to_start']} s to notice the run and to start a process for it.\n"
    )


def main() -> int:
    print(json.dumps(measure(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
