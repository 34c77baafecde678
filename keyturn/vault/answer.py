"""An answer of Vault's, and the two readings of it that every caller needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gave. `body`: the JSON object in it, empty where it has none that can be read."""

    status: int
    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def data(self) -> Mapping[str, Any]:
        data = self.body.get("data")
        return data if isinstance(data, dict) else {}

    def complains_of(self, words: str) -> bool:
        """Whether the server's errors hold these words, in lower case. They decide, and are never quoted."""
        errors = self.body.get("errors")
        return isinstance(errors, list) and any(isinstance(each, str) and words in each.lower() for each in errors)
