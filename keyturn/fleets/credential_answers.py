"""What LiteLLM tells of a credential in its database, and the mark of ours in it.

Read in the source of 1.103.10, 1.106.2 and 1.108.7, and held to it by tests: GET /credentials/by_name/NAME answers from the
memory of the process that is asked. Its `credential_values` are masked, its `credential_info` is told as it is. Both are of
one object there, which is replaced as a whole: by the PATCH in the process that handles it, by the next poll of the database
in every other one. So what `credential_info` says is said of the values beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keyturn.json_object import UnreadableError, inside, iso, mapping, text
from keyturn.material import KeyMaterial

MARK = "keyturn"  # its name in `credential_info`

_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class WrittenMark:
    """Which value keyturn has written, and when, by the clock of who wrote it. No secret: a fingerprint and a time."""

    fingerprint: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.fingerprint} {self.at.astimezone(UTC).isoformat()}"

    @classmethod
    def of(cls, value: Any) -> WrittenMark | None:
        """None for anything that keyturn did not write."""
        try:
            fingerprint, _, at = text(value).partition(" ")
            return cls(fingerprint, iso(at)) if _FINGERPRINT.fullmatch(fingerprint) else None
        except UnreadableError:
            return None


@dataclass(frozen=True, slots=True)
class Told:
    """What one process tells of one credential. `masks`: redacted values. `info`: its metadata. `is_in_config`: it stands in
    the proxy's config.yaml, and cannot be written."""

    masks: Mapping[str, Any]
    info: Mapping[str, Any]
    is_in_config: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Told:
        """UnreadableError for anything but LiteLLM's answer."""
        text(document.get("credential_name"))
        return cls(
            mapping(document.get("credential_values")),
            mapping(document.get("credential_info")),
            document.get("source") == "config",  # versions before 1.106 do not say
        )

    @property
    def mark(self) -> WrittenMark | None:
        return WrittenMark.of(self.info.get(MARK))

    def may_hold(self, values: Mapping[str, KeyMaterial]) -> bool:
        """False where a mask is certainly another text's. The masks show four characters: True alone proves nothing."""
        masks = {name: self.masks.get(name) for name in values}
        return all(isinstance(mask, str) and not values[name].contradicts(mask) for name, mask in masks.items())


def words_of_refusal(document: Mapping[str, Any]) -> str:
    """LiteLLM's own words for a refusal, to compare and never to show; "" where what answered is not LiteLLM."""
    message = inside(document, "error", "message")
    return message if isinstance(message, str) else ""
