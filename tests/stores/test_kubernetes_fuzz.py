"""Whatever answers in the API server's place, and whatever stands in the Secrets: what makes sense, or an error of ours."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import KeyturnError, MisconfiguredError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.references import resolver
from keyturn.stores.kubernetes_documents import place_of
from keyturn.stores.kubernetes_secret import KubernetesSecret
from tests.hostile import Answer, answers, changed, fuzz, quietly, said, tells
from tests.stores.sense import makes_sense
from tests.wire import Request, Wire

SECRET = SecretRef("k8s", "providers", "OPENAI_API_KEY")
ADDED = SecretRef("k8s", "providers", "ADDED_API_KEY")
PLACE = place_of(SECRET, "litellm", "key")
TOKEN = "token-" + secrets.token_hex(12)
KEYS = {name: "key-" + secrets.token_hex(12) for name in ("current", "pending", "previous", "displaced", "new")}
OURS = (TOKEN, *KEYS.values(), *(base64.b64encode(key.encode()).decode().rstrip("=") for key in KEYS.values()))


def fingerprint(name: str) -> str:
    return KeyMaterial(KEYS[name]).fingerprint()


def in_slot(name: str) -> dict[str, str]:
    return {"token": f"{name}-token", "value": KEYS[name]}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(name: str, data: dict[str, str], version: str = "3", **metadata: Any) -> Any:
    named = {"name": name, "namespace": "litellm", "uid": "x", "resourceVersion": version, **metadata}
    return {"kind": "Secret", "apiVersion": "v1", "metadata": named, "type": "Opaque", "data": data}


STATE = {
    **{name: in_slot(name) for name in ("pending", "previous", "displaced")},
    "barred": [],
    "issued": [["old-token", ""], ["pending-token", fingerprint("pending")]],
}
NOTES = {"note.keyturn/attempt": "1", "keyturn/is-for": "providers#OPENAI_API_KEY"}
MAIN = secret(PLACE.main, {"OPENAI_API_KEY": encoded(KEYS["current"]), "OTHER": "/wA="}, labels={"a": "b"}, annotations={})
BESIDE = secret(PLACE.beside, {"state": encoded(json.dumps(STATE))}, annotations=NOTES)
WRITTEN_MAIN, WRITTEN_BESIDE = secret(PLACE.main, {}, "4"), secret(PLACE.beside, {}, "4")
REVIEW = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": {"allowed": True}}
BASE = "/api/v1/namespaces/litellm/secrets/"
PLACES = {
    "main": ("GET", f"{BASE}{PLACE.main} ", MAIN),
    "beside": ("GET", f"{BASE}{PLACE.beside} ", BESIDE),
    "write main": ("PUT", f"{BASE}{PLACE.main} ", WRITTEN_MAIN),
    "write beside": ("PUT", f"{BASE}{PLACE.beside} ", WRITTEN_BESIDE),
    "may": ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews ", REVIEW),
}

Call = Callable[[KubernetesSecret], Coroutine[Any, Any, Any]]
PENDING = VersionRef("pending-token", fingerprint("pending"))
CURRENT = VersionRef("3", fingerprint("current"))
BOTH = ("main", "beside", "write beside", "write main")
VERBS: dict[str, tuple[Call, tuple[str, ...]]] = {
    "current": (lambda store: store.current(SECRET), ("main",)),
    "stages": (lambda store: store.stages(SECRET), ("main", "beside")),
    "read": (lambda store: store.read(SECRET, PENDING), ("main", "beside")),
    "create": (lambda store: store.create(ADDED, KeyMaterial(KEYS["new"])), ("main", "write main")),
    "stage": (lambda store: store.stage(SECRET, KeyMaterial(KEYS["new"]), "new-token"), BOTH),
    "spend": (lambda store: store.spend(SECRET, "new-token"), ("main", "beside", "write beside")),
    "promote": (lambda store: store.promote(SECRET, PENDING, CURRENT), BOTH),
    "bar": (lambda store: store.bar(SECRET, PENDING), BOTH),
    "discard": (lambda store: store.discard(SECRET, PENDING), BOTH),
    "annotate": (lambda store: store.annotate(SECRET, {"attempt": "2", "gone": None}), ("beside", "write beside")),
    "annotations": (lambda store: store.annotations(SECRET), ("beside",)),
    "preflight": (lambda store: store.preflight(SECRET), ("main", "beside", "may")),
}


class Server:
    """A cluster of two Secrets, that answers properly but for what `answer` says otherwise."""

    def __init__(self, wire: Wire, runner: asyncio.Runner) -> None:
        self.wire, self._runner = wire, runner

    def get(self, call: Call, place: str, answer: Answer) -> Any:
        """What the call gives where this answer stands at this place, or its error."""

        def answered(request: Request) -> bytes:
            found = next((name for name, each in PLACES.items() if _is_at(each, request)), "")
            return (answer if found == place else said(PLACES[found][2]) if found else Answer(409, ALREADY)).raw

        self.wire.answer = answered
        return quietly(lambda: self._runner.run(self._ask(call)), answer.key, *OURS)

    async def _ask(self, call: Call) -> Any:
        settings = {"server": self.wire.url, "token": "env:TOKEN", "namespace": "litellm", "timeout": "5s"}
        store = KubernetesSecret(KubernetesSecret.Settings.model_validate(settings), resolver(environ={"TOKEN": TOKEN}))
        try:
            return await call(store)
        finally:
            await store.aclose()


ALREADY = json.dumps({"kind": "Status", "reason": "AlreadyExists", "code": 409}).encode()


def _is_at(place: tuple[str, str, Any], request: Request) -> bool:
    return (request.method, f"{request.target} ") == place[:2]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with asyncio.Runner() as runner, Wire(lambda request: b"") as wire:
        yield Server(wire, runner)


@st.composite
def wrong(draw: Any) -> tuple[str, str, Answer]:
    """A verb, a place where it asks, and a wrong answer there."""
    verb = draw(st.sampled_from(sorted(VERBS)))
    place = draw(st.sampled_from(VERBS[verb][1]))
    return verb, place, draw(answers(PLACES[place][2]))


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_proper_answer_everywhere_is_no_error(server: Server, verb: str) -> None:
    found = server.get(VERBS[verb][0], "nowhere", said({}))
    assert not isinstance(found, KeyturnError), found
    makes_sense(verb, found)


@fuzz(150)
@given(wrong())
def test_a_verb_gives_what_makes_sense_or_an_error_in_our_words(server: Server, asked: tuple[str, str, Answer]) -> None:
    verb, place, answer = asked
    found = server.get(VERBS[verb][0], place, answer)
    if isinstance(found, KeyturnError):
        return
    assert verb == "annotations" or not answer.key or not tells(repr(found), answer.key)
    makes_sense(verb, found)


@fuzz(80)
@given(changed(STATE))
def test_whatever_stands_in_the_second_secret(server: Server, wrong_state: Any) -> None:
    for verb in ("stages", "promote", "stage", "bar"):
        try:
            text = json.dumps(wrong_state.document)
        except ValueError:
            return
        answer = said(secret(PLACE.beside, {"state": base64.b64encode(text.encode(errors="replace")).decode()}))
        found = server.get(VERBS[verb][0], "beside", answer)
        if not isinstance(found, KeyturnError):
            makes_sense(verb, found)


@fuzz(60)
@given(st.sampled_from(["write main", "write beside"]), st.data())
def test_a_write_is_done_where_the_server_says_so_with_another_version(server: Server, place: str, data: Any) -> None:
    """Promoted means: the server took both. Anything else is an error, or another try."""
    answer = data.draw(answers(PLACES[place][2]))
    found = server.get(VERBS["promote"][0], place, answer)
    if not isinstance(found, KeyturnError):
        assert answer.status in (200, 201)
        if answer.document is not None:
            assert answer.document["metadata"]["resourceVersion"] != "3"
            assert answer.document["kind"] == "Secret"


@fuzz(60)
@given(answers(BESIDE))
def test_a_stage_is_empty_where_the_server_says_so(server: Server, answer: Answer) -> None:
    """A PENDING or PREVIOUS that seems to be gone is a key that may be revoked."""
    found = server.get(VERBS["stages"][0], "beside", answer)
    if isinstance(found, KeyturnError) or set(found) == {Stage.CURRENT, Stage.PENDING, Stage.PREVIOUS}:
        return
    assert answer.garbage is None
    assert answer.status in (200, 201), "a 404 has to name the Secret, and a golden body names none"
    if answer.document is not None:
        assert answer.document["metadata"]["name"] == PLACE.beside


@pytest.mark.parametrize("details", [None, {}, {"kind": "secrets", "name": "other"}, {"kind": "pods", "name": PLACE.beside}])
def test_a_404_that_names_something_else_does_not_say_that_a_secret_is_gone(server: Server, details: Any) -> None:
    """Of a path that leads elsewhere, say. PENDING and PREVIOUS would seem to be gone, and their keys strays."""
    refusal = said({"kind": "Status", "status": "Failure", "reason": "NotFound", "details": details, "code": 404}, 404)
    for verb, place in (("stages", "beside"), ("current", "main"), ("annotations", "beside"), ("promote", "write main")):
        assert isinstance(server.get(VERBS[verb][0], place, refusal), MisconfiguredError), (verb, place)


@pytest.mark.parametrize(("place", "document"), [("write main", MAIN), ("write beside", BESIDE)])
def test_a_write_that_comes_back_as_a_read_is_none(server: Server, place: str, document: Any) -> None:
    assert isinstance(server.get(VERBS["promote"][0], place, said(document)), MisconfiguredError)


@pytest.mark.parametrize("status", [301, 302, 307, 308])  # some keep the method and the body
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_no_redirect_is_followed_with_the_token_or_the_key(server: Server, verb: str, status: int) -> None:
    with Wire(lambda request: caught.append(request) or b"") as other:  # type: ignore[func-returns-value]
        caught: list[Request] = []
        for place in VERBS[verb][1]:
            server.get(VERBS[verb][0], place, Answer(status, b"", (("location", f"{other.url}/api/v1/x"),)))
        assert caught == []
