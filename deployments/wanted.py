"""What the deployments are: one table, and what keyturn.yaml makes of it. Asks and changes nothing.

`keyturn serve`, `keyturn deploy` and deployments/prefect.yaml have the same ones.

`rotate` has a schedule for each credential with a cron line, and is what the UI's button and the API start; `rotate_many` is
the button for many at once. `retire` has
none: each rotation asks for its own run at the end of the overlap. `sweep` runs on an interval: the safety net, and what
rotates by age. `rollback` is a button, and so is `respond`, for whoever reports a leak. `approve` asks a
person, where keyturn.yaml has one asked. `inventory` looks, on an interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from keyturn import environments
from keyturn.config import Config
from keyturn.durations import text

ROOT = Path(__file__).parent.parent
INCIDENTS = "incidents"  # a queue that workers look at first, and in a served process places of its own
SCHEDULED = "scheduled"


@dataclass(frozen=True, slots=True)
class Timetable:
    """When a deployment runs by itself: by cron line in a time zone, or on an interval. `slug` tells it from others."""

    slug: str
    cron: str | None = None
    timezone: str = "UTC"
    interval: timedelta | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One deployment. `queue`: of the work pool, or None for its usual one."""

    flow: str
    name: str
    description: str
    timetables: tuple[Timetable, ...] = ()
    queue: str | None = None

    @property
    def entrypoint(self) -> str:
        return f"flows/{self.flow}.py:{self.flow}"

    @property
    def full_name(self) -> str:
        return f"{self.flow}/{self.name}"


def _rotations(config: Config) -> tuple[Timetable, ...]:
    """One for each credential that has a cron line. Its slug is the credential's name, so that a change replaces it."""
    return tuple(
        Timetable(name, each.schedule, each.timezone, parameters={"credential": name, "reason": SCHEDULED})
        for name, each in config.credentials.items()
        if each.schedule is not None
    )


def _sweeps(config: Config) -> tuple[Timetable, ...]:
    return (Timetable("sweep", interval=config.sweep.every),)


def _inventories(config: Config) -> tuple[Timetable, ...]:
    return (Timetable("inventory", interval=config.inventory.every),)


def _never(config: Config) -> tuple[Timetable, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class _Row:
    flow: str
    description: str
    timetables: Callable[[Config], tuple[Timetable, ...]] = _never
    queue: str | None = None


_TABLE = (
    _Row("rotate", "Turn a provider key: create, write, prove, roll, revoke.", _rotations),
    _Row("rotate_many", "Turn the keys of many credentials: those named, a provider's, what is due, or all."),
    _Row("retire", "Revoke the old key of a rotation, on evidence."),
    _Row("sweep", "Finish what stands half-way, retire, rotate what is due, revoke strays, tell what disagrees.", _sweeps),
    _Row("rollback", "Serve the previous key again."),
    _Row("inventory", "Every key in service: how old it is, and whether the provider still takes it.", _inventories),
    _Row("approve", "Ask a person whether an old key may be revoked, and take the answer.", queue=INCIDENTS),
    _Row("respond", "Keys have leaked: replace them, and end them.", queue=INCIDENTS),
)


def wanted(config: Config) -> list[Wanted]:
    """Every deployment of this configuration."""
    name = environments.deployment(config.environment)
    return [Wanted(row.flow, name, _described(row, config), row.timetables(config), row.queue) for row in _TABLE]


def _described(row: _Row, config: Config) -> str:
    """Where environments have an order, Prefect's UI and `keyturn deploy` say so."""
    if config.follows is None or row.timetables is not _rotations:
        return row.description
    told = f"By schedule {text(config.follows.bake)} after {config.follows.environment} has proved its own."
    return f"{row.description} {told}"
