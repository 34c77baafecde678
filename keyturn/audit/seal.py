"""How lines are sealed: a plain hash shows what was changed by accident; a keyed one also a whole file written anew."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from keyturn.audit.record import canonical
from keyturn.errors import MisconfiguredError
from keyturn.json_object import json_object
from keyturn.material import KeyMaterial

BEGINNING = "0" * 64
"""What the first line of a log names as the hash of the line before."""

_LEAST = 32  # characters
_FIELDS = frozenset(("number", "previous", "seal", "hash", "at", "act", "credential", "by", "facts", "evidence"))


class Seal:
    """SHA-256; with a key HMAC-SHA-256. MisconfiguredError for a key of fewer than 32 characters."""

    def __init__(self, key: KeyMaterial | None = None) -> None:
        text = key.reveal().encode() if key is not None else None
        if text is not None and len(text) < _LEAST:
            raise MisconfiguredError(
                f"the audit log's key has fewer than {_LEAST} characters", remedy="make one with `openssl rand -hex 32`"
            )
        self.__key = text

    @property
    def kind(self) -> str:
        return "sha256" if self.__key is None else "hmac-sha256"

    def line(self, entry: dict[str, Any], number: int, previous: str) -> bytes:
        """A whole line, with its end."""
        body = {**entry, "number": number, "previous": previous, "seal": self.kind}
        return canonical({**body, "hash": self._hash(body)}) + b"\n"

    def read(self, line: bytes) -> dict[str, Any]:
        """The record in a line (without its end) that was sealed like this. ValueError: why it is none, in our words."""
        data = parsed_line(line)
        if data["seal"] != self.kind:
            raise ValueError(f"is sealed with {'a' if data['seal'] == 'hmac-sha256' else 'no'} key")
        body = {name: value for name, value in data.items() if name != "hash"}
        if not hmac.compare_digest(self._hash(body), str(data["hash"])):
            raise ValueError("does not have the hash that it names: it was changed, or sealed with another key")
        return data

    def _hash(self, body: dict[str, Any]) -> str:
        written = canonical(body)
        if self.__key is None:
            return hashlib.sha256(written).hexdigest()
        return hmac.digest(self.__key, written, "sha256").hex()


def parsed_line(line: bytes) -> dict[str, Any]:
    """A record as it stands in a line, whether or not its hash is right. ValueError where it is no record."""
    data = json_object(line)
    if set(data) != _FIELDS or canonical(data) != line:
        raise ValueError("is no record of keyturn's")
    if data["seal"] not in ("sha256", "hmac-sha256") or type(data["number"]) is not int:
        raise ValueError("is no record of keyturn's")
    return data
