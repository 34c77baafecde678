"""Pages of a declared list: all of them, or an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from keyturn.json_object import UnreadableError
from keyturn.providers.http_pages import Pages
from keyturn.providers.http_settings import NextPage

Server = Callable[[Mapping[str, Any]], dict[str, Any]]
KEYS = list(range(25))


def gone_through(way: Mapping[str, Any] | None, server: Server) -> list[int]:
    pages = Pages(None if way is None else NextPage.model_validate(way), {"limit": 10})
    found: dict[int, None] = {}
    while not pages.done:
        assert pages.query["limit"] == 10
        document = server(pages.query)
        known = len(found)
        found.update(dict.fromkeys(document["keys"]))
        pages.turn(document, len(document["keys"]), len(found) - known)
    return list(found)


def by(parameter: str, start: Callable[[int], int], more: bool = False) -> Server:
    """A vendor that takes this parameter, and no notice of others."""

    def serve(query: Mapping[str, Any]) -> dict[str, Any]:
        first = start(int(query.get(parameter, start(-1))))
        keys = KEYS[first : first + 10]
        told = {"more": first + 10 < len(KEYS)} if more else {}
        return {"keys": keys, "next": first + 10 if first + 10 < len(KEYS) else None, **told}

    return serve


def cursor(found: int) -> int:
    return max(found, 0)


def numbered_from(first: int) -> Callable[[int], int]:
    return lambda found: first if found == -1 else max(found - first, 0) * 10


@pytest.mark.parametrize(
    ("way", "server"),
    [
        ({"query": "after", "from": "$.next"}, by("after", cursor)),
        ({"query": "after", "from": "$.next", "more": "$.more"}, by("after", cursor, more=True)),
        ({"offset": "skip"}, by("skip", cursor)),
        ({"offset": "skip", "more": "$.more"}, by("skip", cursor, more=True)),
        ({"page": "p"}, by("p", numbered_from(1))),
        ({"page": "p", "first": 0}, by("p", numbered_from(0))),
        ({"page": "p", "more": "$.more"}, by("p", numbered_from(1), more=True)),
    ],
)
def test_every_page_is_asked_for(way: Mapping[str, Any], server: Server) -> None:
    assert gone_through(way, server) == KEYS


@pytest.mark.parametrize("way", [{"query": "x", "from": "$.next"}, {"offset": "x"}, {"page": "x"}])
def test_a_parameter_that_the_vendor_does_not_know_is_no_end(way: Mapping[str, Any]) -> None:
    asked: list[Mapping[str, Any]] = []

    def serve(query: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(query)
        return by("after", cursor)(query)

    with pytest.raises(OverflowError):
        gone_through(way, serve)
    assert len(asked) == 2


def test_without_a_next_page_there_is_one() -> None:
    assert gone_through(None, lambda query: {"keys": KEYS}) == KEYS


def test_an_empty_list_ends_at_once_by_every_way() -> None:
    for way in ({"query": "a", "from": "$.keys[-1].id?"}, {"offset": "o"}, {"page": "p"}):
        assert gone_through(way, lambda query: {"keys": []}) == []


def test_a_list_without_end_is_an_error() -> None:
    served = iter(range(10**6))

    def serve(query: Mapping[str, Any]) -> dict[str, Any]:
        number = next(served)
        return {"keys": [number], "next": f"cursor{number}"}

    for way in ({"query": "a", "from": "$.next"}, {"offset": "o"}, {"page": "p"}):
        with pytest.raises(OverflowError):
            gone_through(way, serve)


@pytest.mark.parametrize(
    ("way", "document"),
    [
        ({"query": "a", "from": "$.next"}, {}),
        ({"query": "a", "from": "$.next"}, {"next": ["x"]}),
        ({"query": "a", "from": "$.next"}, {"next": True}),
        ({"query": "a", "from": "$.next"}, {"next": "x" * 3000}),
        ({"query": "a", "from": "$.next"}, {"next": "a\nb"}),
        ({"query": "a", "from": "$.next"}, {"next": "gsk_" + "aB3" * 10}),
        ({"query": "a", "from": "$.next", "more": "$.more"}, {"next": "x"}),
        ({"query": "a", "from": "$.next", "more": "$.more"}, {"next": None, "more": True}),
        ({"offset": "a", "more": "$.more"}, {"more": "false"}),
        ({"offset": "a", "more": "$.more"}, {"more": 0}),
    ],
)
def test_what_does_not_say_how_it_goes_on_is_no_end(way: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    with pytest.raises(UnreadableError):
        gone_through(way, lambda query: {"keys": [1], **document})
