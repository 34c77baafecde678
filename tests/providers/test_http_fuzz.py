"""Whatever is declared, and whatever a declared vendor answers: what makes sense, or an error that quotes nothing of it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from copy import deepcopy
from datetime import UTC, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keyturn.errors import KeyturnError, LostAnswerError
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, Verdict
from keyturn.providers.http_declared import HttpDeclared
from keyturn.providers.http_settings import HttpSettings
from keyturn.providers.json_paths import json_path
from keyturn.references import resolver
from keyturn.testing.provider_scene import ADMIN, new_label
from tests.hostile import Answer, answers, everything_said, fuzz, in_our_words, logged, planted, said, tells
from tests.providers.test_http_declared import declared
from tests.wire import Request, Wire

LOGIN = "admin-" + secrets.token_hex(24)
FRESH = "fresh-" + secrets.token_hex(24)  # not of a form that is known: it must come through as it is
TOKEN = {
    "meta": {"tokenId": "key_1", "displayName": "somebody's"},
    "masked": "fresh-...ab12",
    "times": {"created": 1711471533, "used": 1711471534, "expires": None},
}
CREATED = {"token": TOKEN, "plaintext": FRESH}
LISTED = {"result": {"tokens": [{"token": TOKEN}], "page": {"cursor": None}}}
REFUSED = {"problem": {"kind": "revoked_token", "text": "This token was revoked."}}
REF = KeyRef("key_1", "somebody's")


class Place:
    """An adapter and what answers it."""

    def __init__(self, wire: Wire, runner: asyncio.Runner) -> None:
        self.wire, self._runner = wire, runner
        settings = HttpSettings.model_validate({**declared("acme", wire.url), "timeout": "5s"})
        self.adapter = HttpDeclared(settings, resolver(environ={ADMIN: LOGIN}))

    def get(
        self, call: Callable[[HttpDeclared], Coroutine[Any, Any, Any]], key: str, answer: Callable[[Request], Answer]
    ) -> Any:
        """What the call gives, or its error; every other exception comes through. The key is nowhere told."""
        self.wire.answer = lambda request: answer(request).raw
        assert self.adapter._check is not None
        self.adapter._check._control._refuses_strangers = False
        found: Any = None
        with logged() as lines:
            try:
                found = self._runner.run(call(self.adapter))
            except KeyturnError as error:
                assert in_our_words(error)
                found = error
                assert not any(tells(everything_said(error), secret) for secret in (key, LOGIN, FRESH) if secret)
        assert not any(tells(line, secret) for line in lines for secret in (key, LOGIN, FRESH) if secret)
        return found


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with asyncio.Runner() as runner, Wire(lambda request: b"") as wire:
        yield Place(wire, runner)


@fuzz(80)
@given(answers(CREATED, 201))
def test_a_create_gives_a_key_or_an_error_and_is_lost_where_it_cannot_be_read(place: Place, answer: Answer) -> None:
    found = place.get(lambda acme: acme.create(new_label(), timedelta(days=1)), answer.key, lambda _: answer)
    if isinstance(found, KeyturnError):
        if answer.garbage is not None or 200 <= answer.status < 300 or answer.status >= 500:
            assert isinstance(found, LostAnswerError)
        return
    assert answer.status in (200, 201)
    assert found.ref.id.isprintable() and isinstance(found.material, KeyMaterial)
    assert not answer.key or not tells(repr(found), answer.key)


@fuzz(80)
@given(answers(LISTED))
def test_a_list_is_of_keys_that_make_sense_or_an_error(place: Place, answer: Answer) -> None:
    found = place.get(lambda acme: acme.list(), answer.key, lambda _: answer)
    if isinstance(found, KeyturnError):
        return
    assert 200 <= answer.status < 300
    if answer.document is not None:
        assert len({each["token"]["meta"]["tokenId"] for each in answer.document["result"]["tokens"]}) == len(found)
    for ref in found:
        assert ref.id.isprintable() and isinstance(ref.name, str) and isinstance(ref.hint, str)
        assert all(time is None or time.tzinfo is UTC for time in (ref.created_at, ref.last_used_at, ref.expires_at))
    assert not answer.key or not tells(repr(found), answer.key)


@fuzz(60)
@given(st.sampled_from(["DELETE", "GET"]), st.sampled_from([204, 404]), st.data())
def test_a_revoke_is_never_done_by_nonsense_while_the_key_is_listed(
    place: Place, where: str, status: int, data: st.DataObject
) -> None:
    answer = data.draw(answers(LISTED if where == "GET" else REFUSED, 200 if where == "GET" else status))

    def answered(request: Request) -> Answer:
        if request.method == where:
            return answer
        return said(LISTED) if request.method == "GET" else said({}, status)

    found = place.get(lambda acme: acme.revoke(REF), answer.key, answered)
    if not isinstance(found, KeyturnError):
        assert where == "GET" and answer.document is not None
        assert all(each["token"]["meta"]["tokenId"] != "key_1" for each in answer.document["result"]["tokens"])


@fuzz(80)
@given(st.data())
def test_a_verdict_comes_of_what_is_declared_alone(place: Place, data: st.DataObject) -> None:
    status = data.draw(st.sampled_from([200, 403]))
    answer = data.draw(answers({"token": TOKEN} if status == 200 else REFUSED, status))

    def answered(request: Request) -> Answer:
        return answer if FRESH in request.headers else said(REFUSED, 403)

    found = place.get(lambda acme: acme.check(KeyMaterial(FRESH)), answer.key, answered)
    assert not tells(found.reason, answer.key or FRESH)
    if found.verdict is Verdict.ACCEPTED:
        assert answer.status == 200
        assert answer.document is None or answer.document["token"]["meta"]["tokenId"] is not None
    if found.verdict is Verdict.REJECTED:
        assert answer.status == 403
        assert answer.document is None or "revoked_token" in str(answer.document["problem"]).lower()


# Settings ---------------------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["{id}", "$.a", "{"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from _places(each, (*path, name))


@pytest.mark.parametrize("example", ["router", "acme"])
@fuzz(300)
@given(data=st.data(), key=planted)
def test_whatever_is_declared_is_settings_or_an_error_that_quotes_nothing(
    example: str, data: st.DataObject, key: str
) -> None:
    whole = deepcopy(declared(example))
    place = data.draw(st.sampled_from([path for path in _places(whole) if path]))
    inner: Any = whole
    for name in place[:-1]:
        inner = inner[name]
    hides = data.draw(st.booleans())
    inner[place[-1]] = data.draw(st.sampled_from([key, [key], {"a": key}, f"{{id}} {key}"]) if hides else _JSON)
    try:
        settings = HttpSettings.model_validate(whole)
    except ValidationError as error:
        assert not tells(str(error), key)
        return
    assert not hides
    adapter = HttpDeclared(settings, resolver(environ={}))
    assert adapter.facts.vendor and adapter.calls and adapter.capabilities.shape == "create_delete"


@fuzz(500)
@given(st.text("$.[]*'\"?@abc019-_ |&,:`()~\n", max_size=30).map(lambda text: "$" + text), _JSON, st.booleans())
def test_a_path_is_read_or_refused_and_leads_somewhere_or_nowhere(text: str, document: Any, many: bool) -> None:
    try:
        path = json_path(text, many)
    except ValueError as error:
        assert error.__cause__ is None and text[:40] not in str(error).split(" like ")[0]
        return
    try:
        found = path.values(document) if many else path.value(document)
    except UnreadableError:
        return
    assert isinstance(found, list) or not many
