"""Going through the pages of a declared list: to its end, or to an error, never to a part of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.json_object import UnreadableError
from keyturn.key_shapes import literal_keys
from keyturn.providers.http_fields import at
from keyturn.providers.http_settings import NextPage

_MOST_PAGES = 1000
_LONGEST_CURSOR = 2000


class Pages:
    """`query`: the parameters of the page that is to be asked for, until `done`."""

    def __init__(self, way: NextPage | None, query: Mapping[str, Any]) -> None:
        self._way, self._fixed = way, query
        self._count, self._keys = 0, 0
        self._cursors: set[str] = set()
        self.done = False
        self.query = {**query, **self._where()}

    def turn(self, document: Mapping[str, Any], here: int, new: int) -> None:
        """After a page with so many keys, of which so many are `new`.

        UnreadableError for what does not say how it goes on; OverflowError for what does not end, or repeats itself.
        """
        self._count, self._keys = self._count + 1, self._keys + here
        if self._way is None or self._is_last(self._way, document, here):
            self.done = True
            return
        # A parameter that the vendor does not know leads to the first page again. That must not pass for the end.
        if self._count >= _MOST_PAGES or (self._way.query is None and new == 0):
            raise OverflowError
        self.query = {**self._fixed, **self._where(document)}

    def _is_last(self, way: NextPage, document: Mapping[str, Any], here: int) -> bool:
        if way.more is not None:
            return not at(document, "list.next.more", way.more, _yes_or_no)
        return at(document, "list.next.from", way.from_, _cursor) is None if way.query is not None else here == 0

    def _where(self, document: Mapping[str, Any] | None = None) -> Mapping[str, str]:
        way = self._way
        if way is None:
            return {}
        if way.page is not None:
            return {way.page: str(way.first + self._count)}
        if way.offset is not None:
            return {way.offset: str(self._keys)}
        if way.query is None or document is None:
            return {}
        cursor = at(document, "list.next.from", way.from_, _needed_cursor)
        if cursor in self._cursors:
            raise OverflowError
        self._cursors.add(cursor)
        return {way.query: cursor}


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnreadableError
    return value


def _cursor(value: Any) -> str | None:
    """It goes into an address: what looks like a key does not."""
    if value is None or value == "":
        return None
    found = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(found, str) or len(found) > _LONGEST_CURSOR or not found.isprintable() or literal_keys(found):
        raise UnreadableError
    return found


def _needed_cursor(value: Any) -> str:
    found = _cursor(value)
    if found is None:
        raise UnreadableError
    return found
