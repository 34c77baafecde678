"""`python -m bench [NAME...]`: measure, and write bench/results.json and bench/results.md.

A measurement is a module of this package with

    def measure() -> Mapping[str, Any]: ...     # keys of results.json, as DESIGN's scoreboard names them
    def page(results) -> str: ...               # its part of results.md, made of what stands in results.json alone

and its name in MEASUREMENTS. A run of some replaces their figures and keeps the others'; a figure that was never
measured is absent.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

MEASUREMENTS: tuple[str, ...] = (
    "exec_cold_start",
    "keyring_get",
    "calls_per_rotation",
    "fleet_rotation",
    "rolls",
    "rotation_latency",
    "incident_latency",
)
RESULTS = Path(__file__).with_name("results.json")
PACKAGES = ("keyturn", "prefect", "boto3", "hvac", "httpx", "kubernetes")


def main(names: Sequence[str]) -> int:
    if unknown := set(names) - set(MEASUREMENTS):
        print(f"no measurement {', '.join(sorted(unknown))}; there are: {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names or MEASUREMENTS:
        print(f"measuring {name}", file=sys.stderr)
        results |= import_module(f"bench.{name}").measure()
        results |= {"date": datetime.now(UTC).date().isoformat(), "machine": machine(), "versions": versions()}
        # At once: the next one may take hours, and fail.
        RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
        RESULTS.with_suffix(".md").write_text(text(results))
    print(text(results))
    return 0


def machine() -> Mapping[str, Any]:
    return {"cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}


def versions() -> Mapping[str, str]:
    return {name: version(name) for name in PACKAGES}


def text(results: Mapping[str, Any]) -> str:
    """The page. Ratios compare within one run: seconds of another machine say little."""
    head = f"# Figures\n\nMeasured {results['date']} with `make bench`, on {results['machine']['cores']} cores.\n"
    return "\n".join([head, *(import_module(f"bench.{name}").page(results) for name in MEASUREMENTS)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
