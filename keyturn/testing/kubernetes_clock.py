"""The time of the Kubernetes double: how objects bear it, and a clock that stands still until a test turns it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_FORM = "%Y-%m-%dT%H:%M:%SZ"


def stamp(moment: datetime) -> str:
    """As objects bear it: whole seconds, the rest cut off."""
    return moment.strftime(_FORM)


def moment_of(stamped: str) -> datetime:
    return datetime.strptime(stamped, _FORM).replace(tzinfo=UTC)


class TurnedClock:
    """Gives the same moment until it is turned. To be handed to KubernetesDouble as `now`."""

    def __init__(self, begins: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._moment = begins

    def __call__(self) -> datetime:
        return self._moment

    def turn(self, seconds: float) -> None:
        self._moment += timedelta(seconds=seconds)
