"""What a store may say, also when somebody else answered in the place of its server."""

from __future__ import annotations

from typing import Any

from keyturn.model import HeldKey, Stage


def makes_sense(verb: str, found: Any) -> None:
    """What a verb of a store gave, whatever it was answered."""
    if verb == "current":
        assert isinstance(found, HeldKey) and isinstance(found.version.id, str)
    if verb == "stages":
        assert Stage.CURRENT in found
        assert all(isinstance(version.id, str) and version.id and version.fingerprint for version in found.values())
    if verb == "annotations":
        assert all(isinstance(each, str) for pair in found.items() for each in pair)
    if verb == "preflight":
        assert all(isinstance(finding.ok, bool | None) for finding in found)
