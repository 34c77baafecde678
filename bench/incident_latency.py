"""From the call of the incident service to the leaked key refused by the provider, over the floor of the calls outside.

    python -m bench.incident_latency [COUNT...]

is a try, which writes nothing. POST /incidents names one credential, then 20 others at once, all of the same two members.
Prefect's server is on PostgreSQL, as in production, and then once more on SQLite, as in the demo: the details alone tell of
that. Before the first call the service has done nothing. A key is refused once the provider has answered to its end. How
the floor is reckoned: bench.latency.floor; of several credentials it is that of the one whose calls take longest, for each
waits for its own alone, and a roll that moves several counts once for each. KEYTURN_BENCH_ROLL_SECONDS (5) shortens the
rolls.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.latency.floor import floor, of
from bench.latency.stack import Stack, running, until_ended
from bench.rotation_latency import figures
from keyturn.testing.embedded import Database

COUNTS = (1, 20)
ENDED = ("done", "failed", "cancelled")


def measure(counts: Sequence[int] = COUNTS) -> Mapping[str, Any]:
    details = _each(counts, "postgres")
    return {
        "incident_ratio": {count: seen["ratio"] for count, seen in details.items()},
        "incident_seconds": {count: seen["seconds"] for count, seen in details.items()},
        "incident_details": details,
        "incident_details_on_sqlite": _each(counts, "sqlite"),
    }


def _each(counts: Sequence[int], database: Database) -> dict[str, Mapping[str, float]]:
    with (
        tempfile.TemporaryDirectory(prefix="keyturn-incident-") as folder,
        running(Path(folder), sum(counts), database) as stack,
    ):
        stack.start_incidents()
        names = iter([each.name for each in stack.credentials])
        return {str(count): _answered(stack, [next(names) for _ in range(count)]) for count in counts}


def _answered(stack: Stack, names: Sequence[str]) -> Mapping[str, float]:
    called = time.time()
    address = stack.ask_incidents("POST", "/incidents", {"credentials": list(names)})["address"]
    accepted = time.time()
    ended = until_ended(lambda: stack.ask_incidents("GET", address), ENDED)
    if ended["state"] != "done":
        raise RuntimeError(f"the incident's run ended {ended['state']}")
    calls = [call for call in stack.calls.all() if call.begin >= called]
    refused = {
        name: max(call.end for call in calls if name in call.concerns and call.what.startswith("DELETE")) for name in names
    }
    least = max(floor(of(calls, name, refused[name])) for name in names)
    return figures(max(refused.values()) - called, least, answered=accepted - called)


def page(results: Mapping[str, Any]) -> str:
    if "incident_ratio" not in results:
        return ""
    rows = [
        f"| {count} | {database} | {seen['seconds']} | {seen['floor']} | {seen['ratio']} |"
        for database, details in (("PostgreSQL", "incident_details"), ("SQLite", "incident_details_on_sqlite"))
        for count, seen in results[details].items()
    ]
    return (
        "## From an incident's call to the leaked key refused\n\n"
        "| credentials at once | Prefect's server on | seconds | floor, s | ratio |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n\n"
        "The floor is the longest chain of calls to the outside that have to wait for one another, of the credential that "
        "has the longest one; latencies as above. All credentials are of the same two members.\n"
    )


def main(arguments: Sequence[str]) -> int:
    print(json.dumps(measure([int(each) for each in arguments] or COUNTS), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
