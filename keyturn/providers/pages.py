"""Lists that come in pages, read to their end: a short list would hide a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from keyturn.errors import UnavailableError
from keyturn.model import KeyRef

_MOST_PAGES = 1000

TokenPage = tuple[Sequence[KeyRef], str]
"""The keys of a page, and the token of the next; "" at the end."""


async def by_token(vendor: str, read: Callable[[str], Awaitable[TokenPage]]) -> Sequence[KeyRef]:
    """Every key of a list whose pages name the next one. `read` gets "" for the first page."""
    found: list[KeyRef] = []
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
    """Every key of a list that is read from the number of a key on, until a page has nothing new."""
    found: dict[str, KeyRef] = {}
    offset = 0
    for _ in range(_MOST_PAGES):
        keys = await read(offset)
        known = len(found)
        found.update({key.id: key for key in keys})
        if len(found) == known:
            return list(found.values())
        offset += len(keys)
    raise UnavailableError(f"{vendor}'s list of keys does not come to an end")


async def by_number(vendor: str, read: Callable[[int], Awaitable[Sequence[KeyRef]]]) -> Sequence[KeyRef]:
    """Every key of a list whose pages are numbered from 1, until one has nothing new. How many a page has is not counted:
    the vendor may give fewer than were asked for."""
    found: dict[str, KeyRef] = {}
    for number in range(1, _MOST_PAGES + 1):
        keys = await read(number)
        known = len(found)
        found.update({key.id: key for key in keys})
        if len(found) == known:
            return list(found.values())
    raise UnavailableError(f"{vendor}'s list of keys does not come to an end")
