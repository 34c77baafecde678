"""What OpenAI's answers about admin keys say, read strictly. UnreadableError for what is not of the declared form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from keyturn.json_object import UnreadableError
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.fields import hint_of, items, key_text, mapping, name_of, optional_unix, plain_id, unix
from keyturn.providers.pages import TokenPage

KEYS = "/organization/admin_api_keys"
_ID = re.compile(r"[A-Za-z0-9_-]+")
_PAGE = "100"


def asked(after: str) -> Mapping[str, str]:
    """The parameters of a page; `after`: the id that the page before ended with, "" for the first."""
    return {"limit": _PAGE, "order": "asc", **({"after": after} if after else {})}


def created(document: Mapping[str, Any]) -> CreatedKey:
    """The answer to a create."""
    return CreatedKey(_key(document), key_text(document.get("value")))


def page(document: Mapping[str, Any]) -> TokenPage[KeyRef]:
    """Keys, and after which id the next page begins."""
    more = document.get("has_more")
    if not isinstance(more, bool):
        raise UnreadableError
    return [_key(each) for each in items(document.get("data"))], _id(document.get("last_id")) if more else ""


def _key(data: Mapping[str, Any]) -> KeyRef:
    owner = mapping(data["owner"]).get("id") if data.get("owner") else None
    return KeyRef(
        id=_id(data.get("id")),
        name=name_of(data.get("name")),
        hint=hint_of(data.get("redacted_value")),
        owner=_id(owner) if owner else "",
        created_at=unix(data.get("created_at")),
        last_used_at=optional_unix(data.get("last_used_at")),
        expires_at=optional_unix(data.get("expires_at")),
    )


def _id(value: Any) -> str:
    found = plain_id(value)
    if not _ID.fullmatch(found):
        raise UnreadableError
    return found
