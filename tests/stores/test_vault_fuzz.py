"""Whatever answers in Vault's place, and whatever stands in the documents: a value that makes sense, or an error of ours."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import KeyturnError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.references import resolver
from keyturn.stores.vault_kv2 import VaultKV2
from tests.hostile import Answer, answers, fuzz, quietly, said, tells
from tests.stores.sense import makes_sense
from tests.wire import Request, Wire

SECRET = SecretRef("vault", "litellm/providers", "OPENAI_API_KEY")
ADDED = SecretRef("vault", "litellm/providers", "ADDED_API_KEY")
TOKEN = "token-" + secrets.token_hex(12)
KEYS = {name: "key-" + secrets.token_hex(12) for name in ("current", "pending", "previous", "displaced", "new")}
OURS = (TOKEN, *KEYS.values())


def fingerprint(name: str) -> str:
    return KeyMaterial(KEYS[name]).fingerprint()


def in_slot(name: str) -> dict[str, str]:
    return {"token": f"{name}-token", "value": KEYS[name]}


def read(fields: Any) -> Any:
    metadata = {"created_time": "2026-01-01T00:00:00Z", "custom_metadata": None, "deletion_time": "", "destroyed": False}
    return {"data": {"data": fields, "metadata": {**metadata, "version": 3}}, "request_id": "x", "warnings": None}


MAIN = read({"OPENAI_API_KEY": KEYS["current"], "OTHER": "untouched"})
BESIDE = read(
    {
        **{name: in_slot(name) for name in ("pending", "previous", "displaced")},
        "issued": [["old-token", ""], ["pending-token", fingerprint("pending")]],
    }
)
NOTES = {"data": {"custom_metadata": {"attempt": "1", "reason": "manual"}, "current_version": 3}, "request_id": "x"}
MOUNT = {"data": {"type": "kv", "options": {"version": "2"}}, "request_id": "x"}
WRITTEN = {"data": {"version": 4, "created_time": "2026-01-01T00:00:00Z"}, "request_id": "x"}
GRANTED = {"data": {"secret/data/litellm/providers": ["root"]}, "request_id": "x"}
LOGIN = {"auth": {"client_token": TOKEN, "lease_duration": 600}, "request_id": "x"}
LIFE = {"data": {"ttl": 3600, "renewable": True, "num_uses": 0, "orphan": True, "policies": ["default"]}, "request_id": "x"}
PLACES = {
    "life": ("GET", "/v1/auth/token/lookup-self", LIFE),
    "main": ("GET", "/v1/secret/data/litellm/", MAIN),
    "beside": ("GET", "/v1/secret/data/keyturn/", BESIDE),
    "notes": ("GET", "/v1/secret/metadata/", NOTES),
    "mount": ("GET", "/v1/sys/internal/", MOUNT),
    "may": ("POST", "/v1/sys/capabilities-self", GRANTED),
    "login": ("POST", "/v1/auth/", LOGIN),
    "write beside": ("POST", "/v1/secret/data/keyturn/", WRITTEN),
    "write main": ("POST", "/v1/secret/data/litellm/", WRITTEN),
    "write metadata": ("POST", "/v1/secret/metadata/", None),
    "patch": ("PATCH", "/v1/secret/metadata/", None),
}

Call = Callable[[VaultKV2], Coroutine[Any, Any, Any]]
PENDING = VersionRef("pending-token", fingerprint("pending"))
CURRENT = VersionRef("3", fingerprint("current"))
VERBS: dict[str, tuple[Call, tuple[str, ...]]] = {
    "current": (lambda vault: vault.current(SECRET), ("main", "mount", "login")),
    "stages": (lambda vault: vault.stages(SECRET), ("main", "beside", "mount", "login")),
    "read": (lambda vault: vault.read(SECRET, PENDING), ("main", "beside")),
    "create": (lambda vault: vault.create(ADDED, KeyMaterial(KEYS["new"])), ("main", "write main")),
    "stage": (
        lambda vault: vault.stage(SECRET, KeyMaterial(KEYS["new"]), "new-token"),
        ("main", "beside", "write beside", "write main"),
    ),
    "spend": (lambda vault: vault.spend(SECRET, "new-token"), ("main", "beside", "write beside")),
    "promote": (lambda vault: vault.promote(SECRET, PENDING, CURRENT), ("main", "beside", "write beside", "write main")),
    "bar": (lambda vault: vault.bar(SECRET, PENDING), ("main", "beside", "write beside", "write main")),
    "discard": (lambda vault: vault.discard(SECRET, PENDING), ("main", "beside", "write beside", "write main")),
    "annotate": (lambda vault: vault.annotate(SECRET, {"attempt": "2", "gone": None}), ("patch", "write metadata")),
    "annotations": (lambda vault: vault.annotations(SECRET), ("notes",)),
    "preflight": (lambda vault: vault.preflight(SECRET), ("main", "mount", "may", "life")),
}


class Server:
    """A Vault of one secret, that answers properly but for what `answered` says otherwise."""

    def __init__(self, wire: Wire, runner: asyncio.Runner) -> None:
        self.wire, self._runner = wire, runner

    def get(self, call: Call, place: str, answer: Answer, *, app_role: bool = False) -> Any:
        """What the call gives where this answer stands at this place, or its error."""
        seen: list[tuple[str, Request]] = []

        def answered(request: Request) -> bytes:
            found = next((name for name, each in PLACES.items() if _is_at(each, request)), "")
            seen.append((found, request))
            golden = PLACES[found][2]
            return (answer if found == place else Answer(204, b"") if golden is None else said(golden)).raw

        self.wire.answer = answered
        given = quietly(lambda: self._runner.run(self._ask(call, app_role)), answer.key, *OURS)
        assert all(place for place, _ in seen), "asked for something that no verb needs"
        return given

    async def _ask(self, call: Call, app_role: bool) -> Any:
        auth: dict[str, str] = {"method": "token", "token": "env:TOKEN"}
        if app_role:
            auth = {"method": "approle", "role_id": "env:TOKEN", "secret_id": "env:TOKEN"}
        settings = {"address": self.wire.url, "auth": auth, "timeout": "5s"}
        vault = VaultKV2(VaultKV2.Settings.model_validate(settings), resolver(environ={"TOKEN": TOKEN}))
        try:
            return await call(vault)
        finally:
            await vault.aclose()


def _is_at(place: tuple[str, str, Any], request: Request) -> bool:
    return (request.method, request.target[: len(place[1])]) == place[:2]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with asyncio.Runner() as runner, Wire(lambda request: b"") as wire:
        yield Server(wire, runner)


@st.composite
def wrong(draw: Any) -> tuple[str, str, Answer]:
    """A verb, a place where it asks, and a wrong answer there."""
    verb = draw(st.sampled_from(sorted(VERBS)))
    place = draw(st.sampled_from(VERBS[verb][1]))
    golden = PLACES[place][2]
    return verb, place, draw(answers(golden if golden is not None else {}, 200 if golden is not None else 204))


@fuzz(150)
@given(wrong())
def test_a_verb_gives_what_makes_sense_or_an_error_in_our_words(server: Server, asked: tuple[str, str, Answer]) -> None:
    verb, place, answer = asked
    found = server.get(VERBS[verb][0], place, answer, app_role=place == "login")
    if isinstance(found, KeyturnError):
        return
    assert verb == "annotations" or not answer.key or not tells(repr(found), answer.key)
    makes_sense(verb, found)


@fuzz(60)
@given(st.sampled_from(["write main", "write beside"]), answers(WRITTEN))
def test_a_write_is_done_where_vault_says_so_with_a_later_number(server: Server, place: str, answer: Answer) -> None:
    """Promoted means: Vault took both documents. Anything else is an error, or another try."""
    found = server.get(VERBS["promote"][0], place, answer)
    if not isinstance(found, KeyturnError):
        assert answer.status == 200
        if answer.document is not None:
            assert answer.document["data"]["version"] > 3


@fuzz(60)
@given(answers(BESIDE))
def test_a_stage_is_empty_where_vault_says_so(server: Server, answer: Answer) -> None:
    """A PENDING or PREVIOUS that seems to be gone is a key that may be revoked."""
    found = server.get(VERBS["stages"][0], "beside", answer)
    if isinstance(found, KeyturnError) or set(found) == {Stage.CURRENT, Stage.PENDING, Stage.PREVIOUS}:
        return
    assert answer.garbage is None
    assert answer.status in (200, 404)
    if answer.document is not None:
        told = answer.document.get("data")
        assert isinstance(told, dict) or isinstance(answer.document.get("errors"), list)


@pytest.mark.parametrize("status", [302, 307])  # one keeps the method and the body, one does not
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_no_redirect_is_followed_with_the_token_or_the_key(server: Server, verb: str, status: int) -> None:
    with Wire(lambda request: caught.append(request) or b"") as other:  # type: ignore[func-returns-value]
        caught: list[Request] = []
        for place in VERBS[verb][1]:
            server.get(VERBS[verb][0], place, Answer(status, b"", (("location", f"{other.url}/v1/x"),)))
        assert caught == []
