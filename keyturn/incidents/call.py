"""The body of POST /incidents, in keyturn's own form: what has leaked, said in one of six ways."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from keyturn.incidents.leak import Digest, Digests, Leak
from keyturn.incidents.reading import MOST_LEAKS, material
from keyturn.json_object import UnreadableError, json_value, mapping
from keyturn.lifecycle import Policy

WAYS = ("credential", "credentials", "provider", "key", "sha256", "fingerprint")
_HEX = {"sha256": re.compile(r"[0-9a-f]{64}"), "fingerprint": re.compile(r"[0-9a-f]{16}")}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True)
class Call:
    """One of: names of credentials, a provider's name, a leak."""

    credentials: tuple[str, ...] = ()
    provider: str = ""
    leak: Leak | None = None
    policy: Policy = Policy.CONFIGURED


def read(body: bytes) -> Call:
    """UnreadableError for anything that is not exactly one of the ways, and for any other name."""
    said = mapping(json_value(body))
    policy = said.get("policy", Policy.CONFIGURED.value)
    ways = [name for name in said if name in WAYS]
    if policy not in list(Policy) or len(ways) != 1 or set(said) - {*ways, "policy"}:
        raise UnreadableError
    return _of(ways[0], said[ways[0]], Policy(policy))


def _of(way: str, value: Any, policy: Policy) -> Call:
    if way == "credentials":
        if not isinstance(value, list) or not 0 < len(value) <= MOST_LEAKS * 5:
            raise UnreadableError
        return Call(credentials=tuple(sorted({_name(each) for each in value})), policy=policy)
    if way == "credential":
        return Call(credentials=(_name(value),), policy=policy)
    if way == "provider":
        return Call(provider=_name(value), policy=policy)
    if way == "key":
        text = material(value)
        if text is None:
            raise UnreadableError
        return Call(leak=Leak(text), policy=policy)
    if not isinstance(value, str) or not _HEX[way].fullmatch(value.lower()):
        raise UnreadableError
    return Call(leak=Leak(digest=Digest(Digests(way), value.lower())), policy=policy)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise UnreadableError
    return value
