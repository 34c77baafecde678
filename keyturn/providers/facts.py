"""What is known of a vendor's key API, and how: `keyturn providers` and docs/providers.md are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Shape(StrEnum):
    """How a key is turned there."""

    CREATE_DELETE = "create_delete"  # a new key beside the old one, which is deleted later
    TWO_SLOTS = "two_slots"  # two keys that always exist: the idle one is made anew
    IN_PLACE = "in_place"  # the key gets a new text; the old text lives for an overlap that is chosen ahead
    POOL = "pool"  # people make keys ahead in a console, and keyturn goes through them
    LEASED = "leased"  # a key ends by itself


class Known(StrEnum):
    """How a fact is known."""

    VERIFIED = "verified"  # from the vendor's SDK, API description or page
    SECONDARY = "secondary"  # from somebody else's
    RECALLED = "recalled"  # unverified: a setting with this as its default


WithoutOverlap = Literal["without_overlap"]
"""The setting `in_place` of a vendor whose old text ends in the moment the key has another: an outage, by one's own wish."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where facts are from, with its version or date, and how far they go."""

    where: str
    known: Known = Known.VERIFIED
    what: str = "requests and answers"


@dataclass(frozen=True, slots=True)
class Facts:
    """One kind of provider. Texts are short and for people; "" says: it has none, or cannot.

    `variables`: what LiteLLM reads, the one that counts first. `models`: LiteLLM's prefix. `login`: what keyturn logs in
    with, and the least permission it needs. `last_use`: how exactly a key's last use is told. `expiry`: how long a key may
    live. `most_keys`: live ones at a time. `in_place`: how a key can be given a new text, where that is asked for. `risks`:
    what cannot be promised, each in a sentence. `keyless`: how the vendor lets one do without a static key. `makes_logins`:
    its keys may be what keyturn logs in with there, so that one of them makes its own successor.
    """

    vendor: str
    shape: Shape
    variables: tuple[str, ...]
    models: str
    login: str
    sources: tuple[Source, ...]
    lists: bool = True
    disables: bool = False
    expiry: str = ""
    last_use: str = ""
    most_keys: int | None = None
    in_place: str = ""
    risks: tuple[str, ...] = ()
    keyless: str = ""
    makes_logins: bool = False
