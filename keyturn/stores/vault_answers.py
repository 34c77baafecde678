"""What stands in Vault's answers, and in the documents of vault_documents: read whole, or not at all.

UnreadableError for what neither Vault nor keyturn can have written; it carries nothing of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from keyturn.json_object import UnreadableError, inside, plain_id, text, texts
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, VersionRef


def number_of(metadata: Any) -> int:
    """The number of a version; 0: there is none."""
    number = inside(metadata, "version")
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else 0


def custom_metadata(data: Mapping[str, Any]) -> dict[str, str]:
    """The notes in the metadata of a document."""
    found = data.get("custom_metadata", ...)
    return {} if found is None else texts(found)


def held_key(slot: Any) -> HeldKey:
    """A token with its value."""
    material = None
    with suppress(ValueError):
        material = KeyMaterial(text(inside(slot, "value")))
    if material is None:
        raise UnreadableError
    return HeldKey(VersionRef(plain_id(inside(slot, "token")), material.fingerprint()), material)


def pairs(value: Any) -> dict[str, str]:
    """A list of pairs: a token, and a text."""
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise UnreadableError
    return texts({plain_id(token): each for token, each in value})


def names(value: Any) -> frozenset[str]:
    """A list of texts."""
    if not isinstance(value, list):
        raise UnreadableError
    return frozenset(text(each) for each in value)
