"""What a key ring tells of itself: plain numbers, and as Prometheus has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Figures:
    """Of one key, since the ring was made. `last_error`: the class of the last read's error, "" when it went well."""

    refreshes: int = 0
    failures: int = 0
    swaps: int = 0
    last_error: str = ""

    def told(self) -> Mapping[str, Any]:
        return asdict(self)


_METRICS = (
    ("age_seconds", "gauge", "Seconds since the store last confirmed the key."),
    ("stale", "gauge", "1 while the key is not given out, because max_staleness is over."),
    ("refreshes_total", "counter", "Reads that the store answered."),
    ("failures_total", "counter", "Reads that failed."),
    ("swaps_total", "counter", "Times that the key was replaced by another one."),
)


def prometheus(stats: Mapping[str, Any]) -> str:
    """`KeyRing.stats()` in Prometheus' text format 0.0.4."""
    lines = []
    for name, kind, words in _METRICS:
        lines += [f"# HELP keyturn_keyring_{name} {words}", f"# TYPE keyturn_keyring_{name} {kind}"]
        lines += [
            f'keyturn_keyring_{name}{{key="{_escaped(key)}"}} {float(told[name.removesuffix("_total")])!r}'
            for key, told in stats["keys"].items()
        ]
    if tokens := {key: told["left_seconds"] for key, told in stats["keys"].items() if "left_seconds" in told}:
        lines.append("# HELP keyturn_keyring_left_seconds Seconds that a token is still given out.")
        lines.append("# TYPE keyturn_keyring_left_seconds gauge")
        lines += [f'keyturn_keyring_left_seconds{{key="{_escaped(key)}"}} {left!r}' for key, left in tokens.items()]
    lines += [
        "# HELP keyturn_keyring_running 1 while keys are refreshed in the background.",
        "# TYPE keyturn_keyring_running gauge",
        f"keyturn_keyring_running {int(stats['running'])}",
    ]
    return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
