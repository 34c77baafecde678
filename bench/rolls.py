"""Failed user requests while a fleet is rolled onto a new key: by keyturn, and as without it, under the same load.

    python -m bench.rolls [--kind KIND]... [--way WAY]... [--members N]... [--requests N] [--per-second N]

That is a try, which writes nothing; `python -m bench rolls` measures: all kinds, or those that KEYTURN_BENCH_KINDS names,
with commas between them, and then the figures of the others stay as they are.

Real LiteLLM proxies, two and four, of each kind of fleet; the provider is the simulator. The load is an open loop of so many
requests a second that two cores bear while members start: every fourth a stream, every tenth takes six seconds. A request
fails when its answer is not 200, not whole, or not what was asked for, or when its connection breaks; none is tried again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.under_load import credentials, docker, ecs, kubernetes, process, restarted, scenario
from bench.under_load.fleet import Making, Way

KINDS: Mapping[str, Making] = {
    "process": process.fleet,
    "kubernetes": kubernetes.Pods,
    "command": restarted.fleet("command"),
    "systemd": restarted.fleet("systemd"),
    "litellm_credentials": credentials.fleet,
    "docker": docker.Containers,
    "ecs": ecs.Tasks,
}
MEMBERS = (2, 4)
REQUESTS = int(os.environ.get("KEYTURN_BENCH_REQUESTS", "10000"))  # that keyturn's rolls see, over all kinds
OTHERS = 240  # that a roll without keyturn sees at the least: what comes after the roll tells nothing more of it
PER_SECOND = 6.0
RESULTS = Path(__file__).with_name("results.json")

Told = dict[str, dict[str, dict[str, Any]]]  # kind -> members -> way -> what was seen


def measure() -> Mapping[str, Any]:
    """Each way, with two and with four members."""
    asked = [name for name in os.environ.get("KEYTURN_BENCH_KINDS", "").split(",") if name] or list(KINDS)
    each = -(-REQUESTS // (len(KINDS) * len(MEMBERS)))
    found: Told = json.loads(RESULTS.read_text()).get("rolls_details", {}) if RESULTS.exists() else {}
    for kind in asked:
        found[kind] = {}
        for way in Way:
            requests = each if way is Way.KEYTURN else OTHERS
            for count, seen in told([kind], [way], MEMBERS, requests, PER_SECOND)[kind].items():
                found[kind].setdefault(count, {}).update(seen)
    found = {kind: found[kind] for kind in KINDS if kind in found}
    return {"rolls": {kind: summed(by_members) for kind, by_members in found.items()}, "rolls_details": found}


def told(kinds: Sequence[str], ways: Sequence[Way], members: Sequence[int], requests: int, per_second: float) -> Told:
    """`requests`: that each scenario has at the least."""
    found: Told = {}
    for kind in kinds:
        for count in members:
            for way in ways:
                print(f"  {kind}, {count} members, {way}", file=sys.stderr)
                with tempfile.TemporaryDirectory(prefix="keyturn-rolls-") as folder:
                    seen = scenario.run(KINDS[kind], Path(folder), way, count, requests, per_second).told()
                seen["date"] = datetime.now(UTC).date().isoformat()
                print(f"    {json.dumps(seen)}", file=sys.stderr)
                found.setdefault(kind, {}).setdefault(str(count), {})[str(way)] = seen
    return found


def summed(by_members: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Mapping[str, int]:
    """A kind's figures over its numbers of members. `requests`: those that keyturn's rolls saw."""

    def total(way: Way, figure: str) -> int:
        return sum(int(ways[way][figure]) for ways in by_members.values())

    return {
        "requests": total(Way.KEYTURN, "requests"),
        "failed": total(Way.KEYTURN, "failed"),
        "blind_failed": total(Way.BLIND, "failed"),
        "undrained_failed": total(Way.UNDRAINED, "failed"),
    }


def page(results: Mapping[str, Any]) -> str:
    if "rolls" not in results:
        return ""
    rows = [
        f"| {kind} | {count} | {way} | {seen['requests']} | {seen['in_the_roll']} | {seen['failed']} | {_why(seen)} |"
        f" {seen['roll_seconds']} | {seen['short_p50_seconds']} / {seen['short_p99_seconds']} |"
        for kind, by_members in results["rolls_details"].items()
        for count, ways in by_members.items()
        for way, seen in sorted(ways.items())
    ]
    return (
        "## Requests of users while a fleet is rolled\n\n"
        "| fleet | members | way | requests | in the roll | failed | how | roll, s | p50 / p99, s |\n"
        "|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        "`blind` restarts every member at once, `undrained` one after the other, each waited for. A roll by keyturn is the "
        "whole rotation, to the end of the old key. The percentiles are of short answers that were good: where a blind "
        "restart lost nothing, its users waited, as Caddy looks for a member for 10 s.\n"
    )


def _why(seen: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {what}" for what, count in seen["failures"].items()) or "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 when a request failed in a roll of keyturn's."""
    parser = argparse.ArgumentParser(prog="python -m bench.rolls")
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--way", action="append", choices=[str(way) for way in Way])
    parser.add_argument("--members", action="append", type=int, choices=MEMBERS)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--per-second", type=float, default=PER_SECOND)
    options = parser.parse_args(arguments)
    ways = [Way(way) for way in options.way or Way]
    found = told(options.kind or list(KINDS), ways, options.members or MEMBERS, options.requests, options.per_second)
    print(json.dumps(found, indent=2))
    by_keyturn = [ways[Way.KEYTURN] for kind in found.values() for ways in kind.values() if Way.KEYTURN in ways]
    return int(any(seen["failed"] for seen in by_keyturn))


if __name__ == "__main__":
    sys.exit(main())
