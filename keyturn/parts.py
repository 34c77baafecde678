"""The parts of keyturn.yaml that have a kind: which adapter, with which settings, and what that makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from keyturn.registry import needs
from keyturn.settings import ProviderLimits


@dataclass(frozen=True, slots=True)
class Part:
    """A section with a `kind`: which adapter, and its settings, checked by the adapter's own model.

    `for_one`: a provider that has its keys for one credential alone. `makes_logins`: one whose keys may be what keyturn logs
    in with; `for_keyturn`: and nobody else. `is_keyturn`: a fleet that is keyturn itself. `has_database`: one whose keys
    are in LiteLLM's own database, and not given to its programs. `limits`: of a provider, how much at once.
    """

    name: str
    kind: str
    settings: BaseModel
    for_one: bool = False
    makes_logins: bool = False
    for_keyturn: bool = False
    is_keyturn: bool = False
    has_database: bool = False
    limits: ProviderLimits = field(default_factory=ProviderLimits)


def part_of(name: str, kind: str, adapter: Any, settings: BaseModel, limits: ProviderLimits | None = None) -> Part:
    """A section that its adapter's own model has checked."""
    facts = getattr(adapter, "FACTS", None)
    makes_logins = bool(getattr(facts, "makes_logins", False))
    return Part(
        name,
        kind,
        settings,
        for_one=getattr(facts, "shape", "") == "two_slots",
        makes_logins=makes_logins,
        for_keyturn=makes_logins and not getattr(facts, "models", ""),
        is_keyturn="logins" in needs(adapter),
        has_database="held" in needs(adapter),
        limits=limits or ProviderLimits(),
    )
