"""Two documents for one value, and what they mean: the state of a store whose backend has no stages of its own.

The *main* document is what the proxies read, and nothing of ours stands in it. What is not served stands *beside* it:

    {"pending":   {"token": ..., "value": ...},   staged, not served
     "previous":  {"token": ..., "value": ...},   served before
     "displaced": {"token": ..., "value": ...},   what was CURRENT when a promote began
     "barred":    [fingerprint, ...],             values that are never promoted
     "issued":    [[token, fingerprint], ...]}    the last tokens that were used here, the oldest first

A token is used once. One that was spent without a value has "" for a fingerprint, which is no value's. Of them `_REMEMBERED`
are kept: a token is forgotten, and could be staged under, once so many newer ones were staged or spent at this value. They
are a list because some backends sort the names in a mapping.

A barred value stays so at least while any stage holds it, and until a promote has displaced it from CURRENT, where only a
person's hand can have put it.

A backend is a `TwoDocuments`; staged_store has the verbs over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol

from keyturn.errors import MisconfiguredError, NotFoundError, UnavailableError
from keyturn.json_object import UnreadableError, inside, mapping, plain_id, text, texts
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, SecretRef, Stage, VersionRef

TRIES = 40  # against other writers of the same documents: one of them succeeds in each round
_REMEMBERED = 50  # tokens
_NO_VALUE = ""


@dataclass(frozen=True, slots=True)
class Main:
    """The main document as it was read.

    `number`: what a write of it has to name; it is another one after each write, also after one that changed nothing.
    `value`: what stands at our place, whatever it is. `missing`: why nothing stands there. `content`: the backend's own.
    """

    number: str
    value: Any = field(default=None, repr=False)
    missing: NotFoundError | None = None
    content: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Beside:
    """The document beside it. `number`: as for Main; "": there is none yet.

    `barred`: fingerprints. `issued`: token -> fingerprint, the oldest first. `content`: the backend's own, as for Main.
    """

    number: str = ""
    pending: HeldKey | None = None
    previous: HeldKey | None = None
    displaced: HeldKey | None = None
    barred: frozenset[str] = frozenset()
    issued: Mapping[str, str] = field(default_factory=dict)
    content: Any = field(default=None, repr=False, compare=False)

    def settled(self, current: HeldKey) -> Beside:
        """The same state, said without what is over."""
        pending = None if self.pending and self.pending.version == current.version else self.pending
        if self.displaced and self.displaced.version != current.version:
            freed = self.barred - {self.displaced.version.fingerprint}
            return replace(self, pending=pending, previous=self.displaced, displaced=None, barred=freed)
        return replace(self, pending=pending)

    def having_issued(self, token: str, fingerprint: str = _NO_VALUE) -> Beside:
        """The same state, and a token that is used from now on."""
        return replace(self, issued=dict([*self.issued.items(), (token, fingerprint)][-_REMEMBERED:]))

    def without(self, version: VersionRef) -> Beside:
        pending = None if self.pending and self.pending.version == version else self.pending
        previous = None if self.previous and self.previous.version == version else self.previous
        return replace(self, pending=pending, previous=previous, displaced=None)


@dataclass(frozen=True, slots=True)
class Seen:
    """Both documents at one instant, and what they mean. `beside` is settled; `promoting`: a promote may be under way."""

    main: Main
    current: HeldKey
    beside: Beside
    raw: Beside

    @property
    def promoting(self) -> bool:
        return self.beside.displaced is not None

    @property
    def held(self) -> dict[Stage, HeldKey]:
        others = {Stage.PENDING: self.beside.pending, Stage.PREVIOUS: self.beside.previous}
        listed = {stage: key for stage, key in others.items() if key and key.version != self.current.version}
        return {Stage.CURRENT: self.current, **listed}

    def find(self, version: VersionRef) -> HeldKey | None:
        return next((key for key in self.held.values() if key.version == version), None)

    def barring(self, version: VersionRef) -> Beside:
        """The same state, and a version that is barred from now on, beside those that are and that a stage holds."""
        held = {key.version.fingerprint for key in self.held.values()}
        return replace(self.beside, barred=self.beside.barred & held | {version.fingerprint})


class TwoDocuments(Protocol):
    """A backend. Each write names the number it was read at, and does nothing where that has moved: then it gives None.

    Every method raises only errors of keyturn.errors. A write whose answer was lost may have happened.
    """

    def demand_fit(self, secret: SecretRef, material: KeyMaterial) -> None:
        """MisconfiguredError, without the value, for one that the main document cannot carry. Asked before it is staged."""
        ...

    async def main(self, secret: SecretRef) -> Main:
        """`missing` where there is no such document, or nothing at our place in it."""
        ...

    async def write_main(self, secret: SecretRef, main: Main, material: KeyMaterial) -> str | None:
        """Put the value at our place, and leave all else as it is. Also where it is `missing`. Gives the new number."""
        ...

    async def touch_main(self, secret: SecretRef, main: Main) -> str | None:
        """Nothing changes but its number: whoever read it before can write it no more."""
        ...

    async def beside(self, secret: SecretRef) -> Beside:
        """MisconfiguredError for one that cannot be read (`parsed`)."""
        ...

    async def write_beside(self, secret: SecretRef, beside: Beside) -> str | None:
        """Put `printed(beside)` there. Gives the new number."""
        ...

    async def annotate(self, secret: SecretRef, notes: Mapping[str, str | None]) -> None:
        """As the port says."""
        ...

    async def annotations(self, secret: SecretRef) -> Mapping[str, str]: ...


async def look(documents: TwoDocuments, secret: SecretRef) -> Seen:
    """Both documents at one instant: the main one did not move while the other was read."""
    main = await documents.main(secret)
    for _ in range(TRIES):
        raw = await documents.beside(secret)
        again = await documents.main(secret)
        if again.number == main.number:
            current = current_of(secret, again, raw.issued)
            return Seen(again, current, raw.settled(current), raw)
        main = again
    raise crowded(secret)


def current_of(secret: SecretRef, main: Main, issued: Mapping[str, str] = MappingProxyType({})) -> HeldKey:
    """Its version is named by the token it was staged under, where that is known, else by the document's number."""
    if main.missing is not None:
        raise main.missing
    try:
        material = KeyMaterial(main.value)
    except (TypeError, ValueError) as error:
        raise MisconfiguredError(
            f"{secret} holds no usable key: {error}", remedy="write the key that is in use there again, as plain text"
        ) from None
    fingerprint = material.fingerprint()
    tokens = [token for token, known in issued.items() if known == fingerprint]
    return HeldKey(VersionRef(tokens[-1] if tokens else main.number, fingerprint), material)


def printed(beside: Beside) -> dict[str, Any]:
    """The second document, as JSON has it. It holds key text."""
    slots = {"pending": beside.pending, "previous": beside.previous, "displaced": beside.displaced}
    document: dict[str, Any] = {name: _slot(key) for name, key in slots.items() if key}
    document["barred"] = sorted(beside.barred)
    document["issued"] = [list(pair) for pair in beside.issued.items()]
    return document


def parsed(document: Any, number: str) -> Beside:
    """What `printed` gave. UnreadableError, which quotes nothing, for what it cannot have given."""
    written = mapping(document)
    slots = {name: _held_key(written[name]) for name in ("pending", "previous", "displaced") if name in written}
    return Beside(number=number, issued=_pairs(written.get("issued")), barred=_names(written.get("barred", [])), **slots)


def crowded(secret: SecretRef) -> UnavailableError:
    return UnavailableError(f"{secret} is being written by too many at once", remedy="try again later")


def _slot(key: HeldKey) -> dict[str, str]:
    return {"token": key.version.id, "value": key.material.reveal()}


def _held_key(slot: Any) -> HeldKey:
    """A token with its value."""
    material = None
    with suppress(ValueError):
        material = KeyMaterial(text(inside(slot, "value")))
    if material is None:
        raise UnreadableError
    return HeldKey(VersionRef(plain_id(inside(slot, "token")), material.fingerprint()), material)


def _pairs(value: Any) -> dict[str, str]:
    """A list of pairs: a token, and a text."""
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise UnreadableError
    return texts({plain_id(token): each for token, each in value})


def _names(value: Any) -> frozenset[str]:
    """A list of texts."""
    if not isinstance(value, list):
        raise UnreadableError
    return frozenset(text(each) for each in value)
