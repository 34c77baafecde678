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


class May(StrEnum):
    """What a management credential may do with keys."""

    CREATE = "create"
    LIST = "list"
    DELETE = "delete"
    DISABLE = "disable"  # and enable again


@dataclass(frozen=True, slots=True)
class Permission:
    """The least that the management credential needs for this.

    `needs`: each by the vendor's name for it; to list, the first is what every list takes. `told_by`: the call without any
    effect that tells whether the credential has them; "" says that there is none. To list is its own proof. `only_yes`: such
    a call that never shows that one is missing. `known`: of the needs and of the call; what is only recalled is never asked,
    for it decides whether a rotation begins.
    """

    may: May
    needs: tuple[str, ...]
    told_by: str = ""
    only_yes: bool = False
    known: Known = Known.VERIFIED


@dataclass(frozen=True, slots=True)
class Facts:
    """One kind of provider. Texts are short and for people; "" says: it has none, or cannot.

    `variables`: what LiteLLM reads, the one that counts first. `models`: LiteLLM's prefix. `login`: what keyturn logs in
    with, and the least permission it needs. `last_use`: how exactly a key's last use is told. `expiry`: how long a key may
    live. `most_keys`: live ones at a time. `in_place`: how a key can be given a new text, where that is asked for. `risks`:
    what cannot be promised, each in a sentence. `keyless`: how the vendor lets one do without a static key. `makes_logins`:
    its keys may be what keyturn logs in with there, so that one of them makes its own successor.
    `steps`: the heading of docs/without-a-key.md that says how to get there.
    `permissions`: none where nobody logs in to the vendor.
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
    steps: str = ""
    permissions: tuple[Permission, ...] = ()

    @property
    def without_a_key(self) -> str:
        """`keyless`, and where the steps are."""
        return f"{self.keyless}. Steps: docs/without-a-key.md#{self.anchor}" if self.steps else self.keyless

    @property
    def anchor(self) -> str:
        """Of the heading, as it stands in a link."""
        return self.steps.lower().replace(" ", "-")

    def permission(self, may: May) -> Permission | None:
        """None: it is not asked of the credential."""
        return next((each for each in self.permissions if each.may is may), None)
