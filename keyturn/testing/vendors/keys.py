"""What a simulator keeps: its keys, and how it is told to act."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Behaviour(BaseModel):
    """How the vendor acts. Times are seconds. `lacks`: what the management credential may not do: see Simulator.GIVES."""

    model_config = ConfigDict(extra="forbid")

    accept_delay: float = 0  # a new key is refused for so long
    refuse_delay: float = 0  # a deleted key is accepted for so long
    usage_lag: float = 0
    key_literal: str = ""  # inside every generated key, so that a search for leaks finds any
    lacks: frozenset[Literal["create", "list", "delete", "disable"]] = frozenset()


@dataclass(slots=True)
class Key:
    """A key without its text. `more`: what the vendor keeps beside it."""

    id: str
    name: str
    owner: str
    fingerprint: str
    hint: str
    created_at: float
    accepted_from: float
    expires_at: float | None = None
    disabled: bool = False
    refused_from: float = math.inf
    deletions: int = 0
    uses: list[float] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def deleted(self) -> bool:
        return self.deletions > 0

    def accepted(self, now: float) -> bool:
        return not self.disabled and self.accepted_from <= now < min(self.refused_from, self.expires_at or math.inf)
