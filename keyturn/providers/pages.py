"""Lists that come in pages, read to their end: a short list would hide a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from keyturn.errors import UnavailableError
from keyturn.model import KeyRef

_MOST_PAGES = 1000
_T = TypeVar("_T")

TokenPage = tuple[Sequence[_T], str]
"""What a page has, and the token of the next; "" at the end."""


async def by_token(vendor: str, read: Callable[[str], Awaitable[TokenPage[_T]]]) -> Sequence[_T]:
    """All of a list whose pages name the next one. `read` gets "" for the first page."""
    found: list[_T] = []
    token, seen = "", {""}
    for _ in range(_MOST_PAGES):
        keys, token = await read(token)
        found += keys
        if not token:
            return found
        if token in seen:
            break
        seen.add(token)
    raise UnavailableError(f"{vendor}'s list of keys does not come to an end")


async def by_offset(vendor: str, read: Callable[[int], Awaitable[Sequence[KeyRef]]]) -> Sequence[KeyRef]:
    """Every key of a list that is read from the number of a key on, until there are none.

    UnavailableError for a page that has been read before: an address that looks at no number would hide the rest.
    """
    found: dict[str, KeyRef] = {}
    offset = 0
    for _ in range(_MOST_PAGES):
        keys = await read(offset)
        if not keys:
            return list(found.values())
        known = len(found)
        found.update({key.id: key for key in keys})
        if len(found) == known:
            break
        offset += len(keys)
    raise UnavailableError(f"{vendor}'s list of keys does not come to an end")


async def by_number(vendor: str, read: Callable[[int], Awaitable[Sequence[KeyRef]]]) -> Sequence[KeyRef]:
    """Every key of a list whose pages are numbered from 1, until one is empty. How many a page has is not counted: the
    vendor may give fewer than were asked for. UnavailableError as for `by_offset`."""
    found: dict[str, KeyRef] = {}
    for number in range(1, _MOST_PAGES + 1):
        keys = await read(number)
        if not keys:
            return list(found.values())
        known = len(found)
        found.update({key.id: key for key in keys})
        if len(found) == known:
            break
    raise UnavailableError(f"{vendor}'s list of keys does not come to an end")
