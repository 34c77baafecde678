"""What `trufflehog --json` prints: one finding a line. It sends nothing by itself: a pipeline posts it.

Read: trufflesecurity/trufflehog, pkg/output/json.go (`Raw`, `RawV2`, `DetectorName`). `Raw` is the secret, or of a secret of
several parts the one that it is found by; `RawV2` has all of them.
"""

from __future__ import annotations

from keyturn.incidents.leak import Leak
from keyturn.incidents.reading import MOST_LEAKS, json_lines, material, name, objects
from keyturn.json_object import UnreadableError, json_value


def read(body: bytes) -> list[Leak]:
    """Each finding's secret, verified or not: whether it is one of ours is what counts. Also as one JSON list."""
    lines = json_value(body) if body.lstrip()[:1] == b"[" else json_lines(body)
    found: list[Leak] = []
    for finding in objects(lines):
        if "DetectorName" not in finding and "Raw" not in finding:
            continue  # a line of its log, which goes to the same place where its output is joined
        texts = [material(finding.get(field)) for field in ("Raw", "RawV2")]
        found += [Leak(text, type=name(finding.get("DetectorName"))) for text in texts if text is not None]
    if len(found) > 2 * MOST_LEAKS:
        raise UnreadableError
    return found
