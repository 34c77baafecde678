"""What OpenAI's answers say. What is not of the form that the SDK 3.54.0 declares is no answer, and never half of one.

UnreadableError for those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keyturn.json_object import UnreadableError, mapping, plain_id, text
from keyturn.key_shapes import masked
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, KeyRef

ID = re.compile(r"[A-Za-z0-9_-]+")
LABEL = re.compile(r"keyturn-[a-z0-9-]+-[0-9a-f]{6}-[0-9a-f]{12}")  # as keyturn.model.Mark.label makes them
_LAST_SECOND = 2**33  # in the year 2242: milliseconds, and other numbers that are no times, are later


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `document`: the JSON object in it, empty where it has none that can be read."""

    status: int
    headers: Mapping[str, str]
    document: Mapping[str, Any]

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Listed:
    """A key as OpenAI lists it, under its own name, with the name of its service account ("" for a user's key)."""

    key: KeyRef
    account_name: str

    @property
    def label(self) -> str:
        """The key's own name, or its account's, where the account was made for the key and carries the label."""
        minted = LABEL.fullmatch(self.account_name) and not LABEL.fullmatch(self.key.name)
        return self.account_name if minted else self.key.name


def created(document: Mapping[str, Any], account: str | None) -> CreatedKey:
    """A key that was added to `account`, or (None) the first key of an account that was made for it."""
    key = document if account is not None else mapping(document.get("api_key"))
    return CreatedKey(
        KeyRef(
            id=_id(key.get("id")),
            name=masked(text(document.get("name"))),
            owner=_id(document.get("id")) if account is None else account,
            created_at=_time(key.get("created_at")),
            expires_at=_optional_time(key.get("expires_at")),
        ),
        _material(key.get("value")),
    )


def listed(document: Mapping[str, Any]) -> Listed:
    """One key of the project, whoever owns it."""
    account = document.get("owner") and mapping(document["owner"]).get("service_account")
    owner = mapping(account) if account is not None else {}
    key = KeyRef(
        id=_id(document.get("id")),
        name=masked(_optional_text(document.get("name"))),
        hint=_hint(_optional_text(document.get("redacted_value"))),
        owner=_id(owner["id"]) if owner.get("id") is not None else "",
        created_at=_time(document.get("created_at")),
        last_used_at=_optional_time(document.get("last_used_at")),
        expires_at=_optional_time(document.get("expires_at")),
    )
    return Listed(key, masked(_optional_text(owner.get("name"))))


def page(document: Mapping[str, Any]) -> tuple[Sequence[Listed], bool, str]:
    """Keys, whether there are more, and after which id those come."""
    items, more = document.get("data"), document.get("has_more")
    if not isinstance(items, list) or not isinstance(more, bool):
        raise UnreadableError
    return [listed(mapping(item)) for item in items], more, _id(document.get("last_id")) if more else ""


def thing(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Any of OpenAI's objects: all say which they are."""
    text(document.get("object"))
    return document


def _id(value: Any) -> str:
    found = plain_id(value)
    if not ID.fullmatch(found):
        raise UnreadableError
    return found


def _hint(value: str) -> str:
    """A hint leaves something out. What does not, and looks like a key, may be the whole of one."""
    return value if any(filler in value for filler in ("...", "\u2026", "*")) else masked(value)


def _optional_text(value: Any) -> str:
    return text(value) if value else ""


def _time(value: Any) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_SECOND:  # false for NaN
        raise UnreadableError
    return datetime.fromtimestamp(value, UTC)


def _optional_time(value: Any) -> datetime | None:
    return None if value is None else _time(value)


def _material(value: Any) -> KeyMaterial:
    try:
        return KeyMaterial(text(value))
    except ValueError:
        pass
    raise UnreadableError
