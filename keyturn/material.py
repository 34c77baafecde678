"""KeyMaterial: the one type that holds key text.

Everything here exists to make the easy thing safe: printing, formatting, logging, pickling, copying, hashing or
serialising a key either gives a mask or fails. The text comes out at one place, `reveal()`, and tests/test_house.py
lists the modules that may call it.
"""

from __future__ import annotations

import hmac
import re
from typing import NoReturn

from keyturn.json_object import has_half_a_character

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

MASK = "KeyMaterial(***)"

# Domain separation, not secrecy: provider keys carry 128 bits or more, so the digest of one cannot be searched back.
# It stops a fingerprint of ours from matching a plain SHA-256 of the same key published elsewhere.
_FINGERPRINT_CONTEXT = b"keyturn/fingerprint/v1"
_FINGERPRINT_HEX_DIGITS = 16
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FILLER = re.compile(r"\.{3,}|[\u2026*\u2022]+")
_REDACTED = re.compile(r"\*{3,}|[\u2026\u2022]")
_LONG_ENOUGH = 20  # characters, of which four may be shown
_HINT_SHOWS = 6  # characters at least, to tell keys apart by


class KeyMaterial:
    """Key text that does not leak by accident.

    `repr`, `str` and `format` give a mask. Pickling, copying, hashing and JSON raise TypeError. Equality is compared in
    constant time. Raises ValueError (which never quotes the text) for text that no HTTP header could carry: empty,
    with control characters or lone surrogates, or with white space around it.
    """

    __slots__ = ("__fingerprint", "__text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError("key material is text")
        if not text:
            raise ValueError("key material is empty")
        if text != text.strip():
            raise ValueError("key material has white space around it (a trailing newline?)")
        if _CONTROL.search(text):
            raise ValueError("key material has control characters in it")
        if has_half_a_character(text):
            raise ValueError("key material has half a character in it (a surrogate)")
        self.__text = text
        self.__fingerprint = ""

    def reveal(self) -> str:
        """The text itself. Only adapters and delivery call this; a reviewer sees every place in tests/test_house.py."""
        return self.__text

    def fingerprint(self) -> str:
        """16 hex digits that name this value and do not tell it: the same value gives the same digits everywhere."""
        if not self.__fingerprint:  # a run asks a hundred times
            digest = hmac.new(_FINGERPRINT_CONTEXT, self.__text.encode(), "sha256")
            self.__fingerprint = digest.hexdigest()[:_FINGERPRINT_HEX_DIGITS]
        return self.__fingerprint

    def last_four(self) -> str:
        """For a person who looks for the key in a console: its last four characters, where that is a small part of it."""
        return f"...{self.__text[-4:]}" if len(self.__text) >= _LONG_ENOUGH else "..."

    def fits_hint(self, hint: str) -> bool:
        """Whether a provider's redacted form ('sk-abc...def', 'sk-ab***yz') could be this key.

        False for a hint that shows fewer than six characters: too little to tell keys apart by.
        """
        return _tells_apart(hint) and self._has_ends(hint)

    def may_fit_hint(self, hint: str) -> bool:
        """As `fits_hint`, the other way round in doubt: True for a hint that shows too little, or nothing."""
        return not _tells_apart(hint) or self._has_ends(hint)

    def contradicts(self, mask: str) -> bool:
        """Whether a redacted form ('sk****yz') is certainly another key's, however little of it is shown."""
        return not self._has_ends(mask)

    def looks_masked(self) -> bool:
        """Whether the text itself is a redacted form of a key, which somebody has taken for one."""
        return _REDACTED.search(self.__text) is not None

    def _has_ends(self, hint: str) -> bool:
        head, tail = _visible_ends(hint)
        return len(head) + len(tail) <= len(self.__text) and self.__text.startswith(head) and self.__text.endswith(tail)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyMaterial):
            return NotImplemented
        return hmac.compare_digest(self.__text.encode(), other.__text.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash would put the key into sets, dict keys and cache keys

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("key material is not pickled")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("key material is not pickled")

    def __copy__(self) -> NoReturn:
        raise TypeError("key material is not copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("key material is not copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("key material has no state to give")


def _tells_apart(hint: str) -> bool:
    return sum(map(len, _visible_ends(hint))) >= _HINT_SHOWS


def _visible_ends(hint: str) -> tuple[str, str]:
    fillers = list(_FILLER.finditer(hint))
    return (hint[: fillers[0].start()], hint[fillers[-1].end() :]) if fillers else ("", "")
