"""Whatever answers to a login, an unwrapping, a renewal or a call about leases: what makes sense, or an error of ours."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import KeyturnError, LostAnswerError
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.vault_dynamic import VaultDynamic
from keyturn.references import resolver
from tests.hostile import Answer, answers, fuzz, quietly, said, tells
from tests.wire import Request, Wire

PATH = "database/creds/litellm"
OURS = {name: f"{name}-{secrets.token_hex(12)}" for name in ("role", "wrapping", "secret", "token", "own", "key")}
LEASE = f"{PATH}/0123456789abcdefghijABCD"


def token(name: str, ttl: int) -> Any:
    auth = {"client_token": OURS[name], "lease_duration": ttl, "renewable": True, "policies": ["default"], "orphan": True}
    return {"auth": {**auth, "token_type": "service", "num_uses": 0}, "request_id": "x"}


WRAPPED = {"data": {"creation_path": "auth/approle/role/x/secret-id", "creation_ttl": 60}, "request_id": "x"}
UNWRAPPED = {"data": {"secret_id": OURS["secret"], "secret_id_num_uses": 0}, "request_id": "x"}
GIVEN = {"lease_id": LEASE, "lease_duration": 60, "renewable": True, "data": {"password": OURS["key"], "username": "u"}}
RENEWED = {"lease_id": LEASE, "lease_duration": 43200, "renewable": True, "data": None, "request_id": "x"}
TIMES = {"issue_time": "2026-11-24T16:55:56.378996407Z", "expire_time": "2026-11-25T16:56:00.378996605Z"}
ABOUT = {"data": {"id": LEASE, **TIMES, "renewable": True, "ttl": 4}, "request_id": "x"}
MOUNT = {"data": {"type": "database", "config": {"max_lease_ttl": 0}}, "request_id": "x"}
MAY = {"data": {PATH: ["root"]}, "request_id": "x"}
PLACES: dict[str, tuple[str, str, Any]] = {
    "wrapped": ("POST", "/v1/sys/wrapping/lookup", WRAPPED),
    "unwrapped": ("POST", "/v1/sys/wrapping/unwrap", UNWRAPPED),
    "login": ("POST", "/v1/auth/approle/login", token("token", 600)),
    "own token": ("POST", "/v1/auth/token/create-orphan", token("own", 300)),
    "given": ("GET", f"/v1/{PATH}", GIVEN),
    "renewed": ("POST", "/v1/sys/leases/renew", RENEWED),
    "own renewed": ("POST", "/v1/auth/token/renew-self", token("own", 43200)),
    "cleared": ("POST", "/v1/auth/token/revoke-self", None),
    "revoked": ("POST", "/v1/sys/leases/revoke", None),
    "names": ("LIST", f"/v1/sys/leases/lookup/{PATH}", {"data": {"keys": [LEASE.rpartition("/")[2]]}}),
    "about": ("POST", "/v1/sys/leases/lookup", ABOUT),
    "mount": ("GET", "/v1/sys/internal/ui/mounts/", MOUNT),
    "may": ("POST", "/v1/sys/capabilities-self", MAY),
}
LOGIN = ("wrapped", "unwrapped", "login")
VERBS: dict[str, tuple[Callable[[VaultDynamic], Awaitable[Any]], tuple[str, ...]]] = {
    "create": (lambda vault: vault.create("label"), (*LOGIN, "own token", "given", "renewed", "own renewed")),
    "list": (lambda vault: vault.list(), ("names", "about")),
    "revoke": (lambda vault: vault.revoke(KeyRef(LEASE, "")), (*LOGIN, "revoked")),
    "preflight": (lambda vault: vault.preflight(), (*LOGIN, "mount", "may")),
}


class Server:
    """A Vault of one engine, that answers properly but at one place; `asked` has the places, in order."""

    def __init__(self, wire: Wire, runner: asyncio.Runner) -> None:
        self.wire, self._runner = wire, runner
        self.asked: list[str] = []

    def get(self, verb: str, wrong: dict[str, Answer]) -> Any:
        self.asked.clear()

        def answered(request: Request) -> bytes:
            found = next((name for name, each in PLACES.items() if _is_at(each, request)), "")
            self.asked.append(found)
            golden = PLACES[found][2] if found else None
            return wrong.get(found, Answer(204, b"") if golden is None else said(golden)).raw

        self.wire.answer = answered
        planted = [answer.key for answer in wrong.values()]
        found = quietly(lambda: self._runner.run(self._ask(VERBS[verb][0])), *planted, *OURS.values())
        assert all(self.asked), "asked for something that no verb needs"
        return found

    async def _ask(self, call: Callable[[VaultDynamic], Awaitable[Any]]) -> Any:
        auth = {"method": "approle", "role_id": "env:ROLE", "wrapped_secret_id": "env:WRAPPING"}
        settings = {"address": self.wire.url, "auth": auth, "timeout": "5s", "can_list": True}
        settings |= {"path": PATH, "field": "password", "max_ttl": "12h"}
        environ = {"ROLE": OURS["role"], "WRAPPING": OURS["wrapping"]}
        vault = VaultDynamic(VaultDynamic.Settings.model_validate(settings), resolver(environ=environ))
        try:
            return await call(vault)
        finally:
            await vault.aclose()


def _is_at(place: tuple[str, str, Any], request: Request) -> bool:
    target = request.target if place[1].endswith("/mounts/") is False else request.target[: len(place[1])]
    return (request.method, target) == place[:2]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with asyncio.Runner() as runner, Wire(lambda request: b"") as wire:
        yield Server(wire, runner)


@st.composite
def wrong(draw: Any, verbs: tuple[str, ...] = tuple(sorted(VERBS))) -> tuple[str, str, Answer]:
    verb = draw(st.sampled_from(verbs))
    place = draw(st.sampled_from(VERBS[verb][1]))
    golden = PLACES[place][2]
    return verb, place, draw(answers(golden if golden is not None else {}, 200 if golden is not None else 204))


@pytest.mark.parametrize("verb", VERBS)
def test_the_golden_answers_are_taken(server: Server, verb: str) -> None:
    found = server.get(verb, {})
    assert not isinstance(found, KeyturnError), found
    if verb == "create":
        assert (found.ref.id, found.material.reveal()) == (LEASE, OURS["key"])


@fuzz(200)
@given(wrong())
def test_a_verb_gives_what_makes_sense_or_an_error_in_our_words(server: Server, asked: tuple[str, str, Answer]) -> None:
    verb, place, answer = asked
    found = server.get(verb, {place: answer})
    if isinstance(found, KeyturnError):
        return
    if verb == "create":
        assert isinstance(found, CreatedKey)
        assert found.ref.id.startswith(f"{PATH}/") and found.ref.expires_at is not None
        assert found.ref.created_at is not None
        assert found.ref.expires_at - found.ref.created_at >= timedelta(hours=12) - timedelta(seconds=5)
    if verb == "list":
        assert all(ref.id.startswith(f"{PATH}/") and not ref.name for ref in found)
    if verb == "revoke":
        assert place != "revoked" or answer.status == 204
    assert verb == "create" or not answer.key or not tells(repr(found), answer.key)


@fuzz(100)
@given(wrong(("create",)))
def test_a_create_that_fails_after_its_token_was_made_revokes_that(server: Server, asked: tuple[str, str, Answer]) -> None:
    """Whatever stands in the answer, a key may have been made. Only where there is a token it can have been."""
    verb, place, answer = asked
    found = server.get(verb, {place: answer})
    if isinstance(found, KeyturnError) and server.asked.count("given"):
        assert server.asked[-1] == "cleared"


@fuzz(60)
@given(answers(GIVEN), answers({}, 204))
def test_where_the_token_is_not_known_to_be_gone_the_answer_is_lost(server: Server, given: Answer, cleared: Answer) -> None:
    found = server.get("create", {"given": given, "cleared": cleared})
    if isinstance(found, KeyturnError) and cleared.status != 204:
        assert isinstance(found, LostAnswerError)
