"""The handles of a rotation that cannot be rebuilt by looking: kept as annotations beside the deciding secret.

Annotations know no compare-and-swap, so a worker that was stalled may write one long after it has become wrong. Two rules
make that harmless. Which provider key a value is, is a note of its own for each value, and never overwritten by another
value's; so no key can be forgotten. And a time is written together with the value it is about: about any other, it is void.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from types import MappingProxyType

UNKNOWN = "unknown"  # the id of a key that could not be matched to one at the provider

_NOT_IN_NOTES = re.compile(r"[^A-Za-z0-9 _.:/=+@-]+")
_BY = re.compile(rf"{UNKNOWN}(\.\.\..*)")


def unknown_by(hint: str) -> str:
    """The id of a key that could not be matched, with what a person finds it by in a console: `...` and four characters."""
    return UNKNOWN + _NOT_IN_NOTES.sub("-", hint)


def is_unknown(key_id: str) -> bool:
    """Whether it is no id of the provider's."""
    return key_id == UNKNOWN or bool(hint_in(key_id))


def hint_in(key_id: str) -> str:
    """The hint in such an id; "" where it has none."""
    found = _BY.fullmatch(key_id)
    return found[1] if found else ""


NO_FAILURE: Mapping[str, str | None] = MappingProxyType(dict.fromkeys(("failures", "failed_at", "failure", "parked")))
"""Annotations that say: the last run went well, and whatever is due may be begun again."""

_KEY = "key_"
_DIGITS = "0123456789abcdef"  # of a fingerprint; names of annotations have letters alone
_LETTERS = "abcdefghijklmnop"
_TURNED = _KEY + "turned"  # kept apart as those of keys are, and none of them: the letters are others
_LEAKED = _KEY + "reported"  # the same
_ANSWERED = _KEY + "answered"  # the same
_APART = {"turned": _TURNED, "leaked": _LEAKED, "answered": _ANSWERED}
_ABOUT_CURRENT = ("rolled_at", "proved_at", "retire_after", "watched_from")
_COUNTS = ("attempt", "failures")
_COUNT = re.compile(r"[0-9]{1,9}")
_TIME = re.compile(r"2[0-2][0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")  # to which any duration can be added
_MOST_BY_HAND = 7  # fingerprints in a note; what is left out is looked at with all that is asked of an old key
_LONGEST_WORDS = 80  # characters: tags at AWS are few
_LONGEST_NOTE = 120  # characters: see `SecretStore.annotate`


@dataclass(frozen=True, slots=True)
class Turned:
    """That the provider was asked to give a key a new text: `text` (a fingerprint) was its text, and ends at `ends`."""

    ends: datetime
    text: str
    key: str

    @classmethod
    def parse(cls, note: str) -> Turned | None:
        ends, _, rest = note.partition(" ")
        text, _, key = rest.partition(" ")
        moment = _time(ends)
        return cls(moment, text, key) if moment is not None and text and key else None

    def __str__(self) -> str:
        return f"{_text(self.ends)} {self.text} {self.key}"


@dataclass(frozen=True, slots=True)
class Leaked:
    """That a key was reported as leaked: `text` (a fingerprint), by which run's time, and its id where that is known.

    `first`: it is to be refused by its provider before it has a successor.
    """

    at: datetime
    first: bool
    text: str
    key: str = ""

    @classmethod
    def parse(cls, note: str) -> Leaked | None:
        at, _, rest = note.partition(" ")
        how, _, rest = rest.partition(" ")
        text, _, key = rest.partition(" ")
        moment = _time(at)
        return cls(moment, how == "first", text, key) if moment is not None and text else None

    def __str__(self) -> str:
        note = f"{_text(self.at)} {'first' if self.first else 'proved'} {self.text}"
        whole = f"{note} {self.key}"  # without an id that no note has room for, the key is looked for by its text
        return whole if self.key and len(whole) <= _LONGEST_NOTE else note


@dataclass(frozen=True, slots=True)
class Answered:
    """What a person said when they were asked whether the key of a value (`text`, a fingerprint) may be ended."""

    at: datetime
    revoke: bool
    text: str

    @classmethod
    def parse(cls, note: str) -> Answered | None:
        at, _, rest = note.partition(" ")
        word, _, text = rest.partition(" ")
        moment = _time(at)
        return cls(moment, word == "revoke", text) if moment is not None and text else None

    def __str__(self) -> str:
        return f"{_text(self.at)} {'revoke' if self.revoke else 'keep'} {self.text}"


@dataclass(frozen=True, slots=True)
class Journal:
    """What earlier steps wrote down. A hint, checked against what is observed: the store's stages always win.

    Keys are the provider's key ids, fingerprints are KeyMaterial's, times are aware and in UTC, whole seconds.
    `keys`: fingerprint -> id, for every value that keyturn staged or displaced and whose key is not known to be gone.
    `back_from`: the value that CURRENT was taken back from, written before the swap: it is, or was, in service.
    `by_hand`: fingerprints of old values whose keys only a person can delete, who was asked to.
    `failures`: runs in a row that failed; `failure` says how the last one did. `parked`: why no run is begun by itself.
    """

    attempt: int = 0  # rotations that were given up; their ids are spent
    rotation: str = ""  # the last one that staged a key
    reason: str = ""
    pending_fingerprint: str = ""  # what it staged
    staged_at: datetime | None = None
    current_fingerprint: str = ""  # what was promoted last; the times are about it
    promoted_at: datetime | None = None
    rolled_at: datetime | None = None
    proved_at: datetime | None = None
    retire_after: datetime | None = None
    watched_from: datetime | None = None  # an old key was used after the roll: since then it has to be idle
    retired_at: datetime | None = None
    back_from: str = ""
    by_hand: frozenset[str] = frozenset()
    failures: int = 0
    failed_at: datetime | None = None
    failure: str = ""
    parked: str = ""
    proof: str = ""  # the evidence at the last prove or revoke, in short
    turned: Turned | None = None  # written before the key is turned; see keyturn.steps.in_place
    leaked: Leaked | None = None  # written before anything is done about it, and until that key is refused
    answered: Answered | None = None  # until that key is refused
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def pending_key(self) -> str:
        return self.keys.get(self.pending_fingerprint, "")

    def turned_from(self, fingerprint: str) -> Turned | None:
        """Where the key of this value was given another text, or may have been: what is known of that."""
        return self.turned if self.turned is not None and self.turned.text == fingerprint else None

    def leaked_as(self, fingerprint: str) -> Leaked | None:
        """What was reported of this value; None: nothing."""
        return self.leaked if self.leaked is not None and self.leaked.text == fingerprint else None

    def answered_of(self, fingerprint: str) -> Answered | None:
        """What a person said of this value; None: nothing."""
        return self.answered if self.answered is not None and self.answered.text == fingerprint else None

    @property
    def current_key(self) -> str:
        return self.keys.get(self.current_fingerprint, "")

    @property
    def rollout(self) -> str:
        """Names the roll onto what was promoted last: the same for every worker, and no other roll's, also where the same
        value was promoted before. Letters, digits, `.` and `-`."""
        return f"{self.current_fingerprint}.{f'{self.promoted_at:%Y%m%dT%H%M%SZ}' if self.promoted_at else '-'}"

    @classmethod
    def parse(cls, notes: Mapping[str, str]) -> Journal:
        """From a store's annotations. What is missing or unreadable is as if never written."""
        values: dict[str, object] = {"keys": {_fingerprint(name): notes[name] for name in notes if _names_a_key(name)}}
        values["turned"] = Turned.parse(notes.get(_TURNED, ""))
        values["leaked"] = Leaked.parse(notes.get(_LEAKED, ""))
        values["answered"] = Answered.parse(notes.get(_ANSWERED, ""))
        for each in fields(cls):
            text = notes.get(each.name)
            if text is None or each.name in ("keys", *_APART):
                continue
            if each.name in _ABOUT_CURRENT:
                text, _, about = text.partition(" ")
                values[each.name] = _time(text) if about == notes.get("current_fingerprint") else None
            elif each.name == "by_hand":
                values[each.name] = frozenset(text.split())
            elif each.name in _COUNTS:
                values[each.name] = int(text) if _COUNT.fullmatch(text) else 0
            else:
                values[each.name] = _time(text) if each.name.endswith("_at") else text
        return cls(**values)  # type: ignore[arg-type]  # the loop above gives each field its own type


def notes(
    *,
    about: str = "",
    keys: Mapping[str, str | None] = MappingProxyType({}),
    **values: str | int | datetime | frozenset[str] | Turned | Leaked | Answered | None,
) -> dict[str, str | None]:
    """Annotations for `SecretStore.annotate`: an empty text or None drops the note.

    `about`: the fingerprint of the value that the times are about. `keys`: fingerprint -> the key's id.
    """
    unknown = values.keys() - {each.name for each in fields(Journal)}
    if unknown:
        raise KeyError(f"no such note: {sorted(unknown)}")
    written = {_APART.get(name, name): _text(value) for name, value in values.items()}
    for name in written.keys() & set(_ABOUT_CURRENT):
        if written[name] is not None:
            if not about:
                raise KeyError(f"{name} is about a value, and which one is missing")
            written[name] = f"{written[name]} {about}"
    return written | {_KEY + fingerprint.translate(_TO_LETTERS): _text(key) for fingerprint, key in keys.items()}


def words(text: str) -> str:
    """A sentence of ours as a note: in the alphabet that every store takes, and short."""
    return _NOT_IN_NOTES.sub(" ", text)[:_LONGEST_WORDS].strip()


_TO_LETTERS = str.maketrans(_DIGITS, _LETTERS)
_TO_DIGITS = str.maketrans(_LETTERS, _DIGITS)


def _names_a_key(name: str) -> bool:
    letters = name.removeprefix(_KEY)
    return name.startswith(_KEY) and bool(letters) and set(letters) <= set(_LETTERS)


def _fingerprint(name: str) -> str:
    return name.removeprefix(_KEY).translate(_TO_DIGITS)


def _text(value: str | int | datetime | frozenset[str] | Turned | Leaked | Answered | None) -> str | None:
    if isinstance(value, frozenset):
        return " ".join(sorted(value)[:_MOST_BY_HAND]) or None
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return None if value is None or value == "" else str(value)


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if _TIME.fullmatch(text) else None
    except ValueError:
        return None
