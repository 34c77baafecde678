"""What the service is made of, handed in: whose a key is, who starts a run, who tells of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from keyturn.config import Config
from keyturn.incident_settings import IncidentSettings, SourceSettings
from keyturn.incidents.intake import Intake
from keyturn.incidents.leak import Lookup, Subject
from keyturn.lifecycle import Policy
from keyturn.material import KeyMaterial


@dataclass(frozen=True, slots=True)
class Run:
    """A run of `respond`. `begun`: by this report; else it is the one of an earlier report of the same leak."""

    id: UUID
    credentials: tuple[str, ...]
    begun: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in words. `steps`: per part of the run, what it is at."""

    id: UUID
    state: str
    credentials: tuple[str, ...]
    began: str = ""
    ended: str = ""
    steps: Sequence[dict[str, Any]] = field(default_factory=tuple)


Start = Callable[[Sequence[Subject], Policy], Awaitable[Sequence[Run]]]
"""One run for all that is new; for what was reported before, its run. It has begun when this returns. UnavailableError."""

Tell = Callable[[UUID], Awaitable[Progress | None]]
"""None for a run that is not there, and for one that is no incident's."""

Ask = Callable[[SourceSettings, Lookup], Awaitable[KeyMaterial | None]]
"""The secret of an alert, of the scanner's own API; None where it does not tell. UnavailableError."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything behind the door."""

    config: Config
    settings: IncidentSettings
    intake: Intake
    start: Start
    tell: Tell
    ask: Ask
