"""The handles of a rotation that cannot be rebuilt by looking: kept as annotations beside the deciding secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Journal:
    """What earlier steps wrote down. A hint, checked against what is observed: the store's stages always win.

    Keys are the provider's key ids, fingerprints are KeyMaterial's, times are aware and in UTC, whole seconds.
    """

    attempt: int = 0  # rotations that were given up; their ids are spent
    rotation: str = ""  # the rotation that PENDING belongs to, else the one that made CURRENT
    reason: str = ""
    pending_key: str = ""
    pending_fingerprint: str = ""
    pending_since: datetime | None = None
    current_key: str = ""
    current_fingerprint: str = ""
    previous_key: str = ""
    previous_fingerprint: str = ""
    promoted_at: datetime | None = None
    rolled_at: datetime | None = None
    proved_at: datetime | None = None
    retire_after: datetime | None = None
    retired_at: datetime | None = None

    @classmethod
    def parse(cls, notes: Mapping[str, str]) -> Journal:
        """From a store's annotations. What is missing or unreadable is as if never written."""
        values: dict[str, object] = {}
        for field in fields(cls):
            text = notes.get(field.name)
            if text is None:
                continue
            if field.name == "attempt":
                values[field.name] = int(text) if text.isdigit() else 0
            elif field.name.endswith(("_at", "_since", "_after")):
                values[field.name] = _time(text)
            else:
                values[field.name] = text
        return cls(**values)  # type: ignore[arg-type]  # the loop above gives each field its own type


def notes(**values: str | int | datetime | None) -> dict[str, str | None]:
    """Annotations for `SecretStore.annotate`: an empty text or None drops the note."""
    unknown = values.keys() - {field.name for field in fields(Journal)}
    if unknown:
        raise KeyError(f"no such note: {sorted(unknown)}")
    return {name: _text(value) for name, value in values.items()}


def _text(value: str | int | datetime | None) -> str | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return None if value is None or value == "" else str(value)


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
