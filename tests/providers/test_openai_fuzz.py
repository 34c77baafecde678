"""Whatever answers in OpenAI's place: a value that makes sense, or an error of ours that quotes nothing of it."""

from __future__ import annotations

import asyncio
import json
import secrets
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import KeyturnError, LostAnswerError
from keyturn.material import KeyMaterial
from keyturn.model import Finding, KeyRef, Mark, Verdict
from keyturn.providers.openai import OpenAI
from keyturn.references import resolver
from tests.hostile import Answer, answers, everything_said, fuzz, in_our_words, logged, said, tells
from tests.wire import Request, Wire

LABEL = Mark.of("openai-prod", "vault:litellm/providers#OPENAI_API_KEY").label(str(uuid.uuid4()))
ADMIN = "admin-" + secrets.token_hex(24)
FRESH = "fresh-" + secrets.token_hex(24)  # not of a form that is known: it must come through as it is
ACCOUNT = {"object": "organization.project.service_account", "id": "svc_acct_1", "name": LABEL, "role": "member"}
CREATED = {
    "object": "organization.project.service_account.api_key",
    "id": "key_1",
    "name": LABEL,
    "value": FRESH,
    "created_at": 1711471533,
    "expires_at": None,
}
MINTED = {**ACCOUNT, "created_at": 1711471533, "api_key": {**CREATED, "name": "Secret Key"}}
KEY = {
    "object": "organization.project.api_key",
    "id": "key_1",
    "name": LABEL,
    "redacted_value": "sk-abc...def",
    "created_at": 1711471533,
    "last_used_at": 1711471534,
    "expires_at": None,
    "owner": {"type": "service_account", "service_account": ACCOUNT},
}
PAGE = {"object": "list", "data": [KEY, {**KEY, "id": "key_2"}], "first_id": "key_1", "last_id": "key_2", "has_more": False}
DELETED = {"object": "organization.project.api_key.deleted", "id": "key_1", "deleted": True}
MODELS = {"object": "list", "data": [{"id": "gpt-4o-mini", "object": "model", "created": 1, "owned_by": "openai"}]}
REFUSED = {"error": {"message": "Incorrect API key provided", "type": "x", "param": None, "code": "invalid_api_key"}}
REF = KeyRef("key_1", LABEL, owner="svc_acct_1")

Call = Callable[[OpenAI], Coroutine[Any, Any, Any]]


class Place:
    """An adapter and what answers it."""

    def __init__(self, wire: Wire, runner: asyncio.Runner) -> None:
        self.wire, self._runner = wire, runner
        self._adapters = {account: self._made(account) for account in (True, False)}

    def _made(self, account: bool) -> OpenAI:
        settings = {"admin_key": "env:ADMIN", "project": "proj_1", "base_url": f"{self.wire.url}/v1", "timeout": "5s"}
        settings |= {"service_account": "svc_acct_1"} if account else {}
        return OpenAI(OpenAI.Settings.model_validate(settings), resolver(environ={"ADMIN": ADMIN}))

    def get(self, call: Call, key: str, answer: Callable[[Request], Answer], *, account: bool = True) -> Any:
        """What the call gives, or its error; every other exception comes through. The key is nowhere told."""
        self.wire.answer = lambda request: answer(request).raw
        adapter = self._adapters[account]
        found: Any = None
        adapter._control._refuses_strangers = False
        with logged() as lines:
            try:
                found = self._runner.run(call(adapter))
            except KeyturnError as error:
                assert in_our_words(error)
                found = error
                assert not any(tells(everything_said(error), secret) for secret in (key, ADMIN, FRESH) if secret)
        assert not any(tells(line, secret) for line in lines for secret in (key, ADMIN, FRESH) if secret)
        return found


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with asyncio.Runner() as runner:

        def quiet(request: Request) -> bytes:
            return b""

        with Wire(quiet) as wire:
            yield Place(wire, runner)


def makes_sense(ref: KeyRef) -> None:
    assert ref.id.isascii() and ref.id.replace("_", "").replace("-", "").isalnum()
    assert all(isinstance(text, str) for text in (ref.name, ref.hint, ref.owner))
    times = [time for time in (ref.created_at, ref.last_used_at, ref.expires_at) if time is not None]
    assert all(datetime(1970, 1, 1, tzinfo=UTC) <= time < datetime(2300, 1, 1, tzinfo=UTC) for time in times)


@pytest.mark.parametrize("account", [True, False])
@fuzz(60)
@given(data=st.data())
def test_a_create_gives_a_key_or_an_error_and_is_lost_where_it_cannot_be_read(
    place: Place, account: bool, data: st.DataObject
) -> None:
    answer = data.draw(answers(CREATED if account else MINTED))
    found = place.get(lambda openai: openai.create(LABEL), answer.key, lambda _: answer, account=account)
    if isinstance(found, KeyturnError):
        if answer.garbage is not None or 200 <= answer.status < 300 or answer.status >= 500:
            assert isinstance(found, LostAnswerError)
        return
    assert 200 <= answer.status < 300
    makes_sense(found.ref)
    assert found.ref.id and found.ref.name and found.ref.created_at
    assert isinstance(found.material, KeyMaterial)
    assert not tells(repr(found), answer.key) or not answer.key


@fuzz(80)
@given(answers(PAGE))
def test_a_list_is_of_keys_that_make_sense_or_an_error(place: Place, answer: Answer) -> None:
    found = place.get(lambda openai: openai.list(), answer.key, lambda _: answer)
    if not isinstance(found, KeyturnError):
        assert 200 <= answer.status < 300
        if answer.document is not None:
            assert isinstance(answer.document, dict) and isinstance(answer.document["data"], list)
        for ref in found:
            makes_sense(ref)
            assert isinstance(KeyMaterial(FRESH).fits_hint(ref.hint), bool)
        assert not answer.key or not tells(repr(found), answer.key)


@fuzz(40)
@given(answers(KEY))
def test_a_last_use_is_a_time_or_nothing_or_an_error(place: Place, answer: Answer) -> None:
    found = place.get(lambda openai: openai.last_used(REF), answer.key, lambda _: answer)
    assert found is None or isinstance(found, KeyturnError) or found.tzinfo is UTC


@fuzz(80)
@given(st.sampled_from(["DELETE", "GET"]), st.sampled_from([200, 400, 404]), st.data())
def test_a_revoke_is_done_where_openai_says_so_and_never_by_nonsense(
    place: Place, where: str, status: int, data: st.DataObject
) -> None:
    """The key stays listed throughout: only a clear word that it is deleted may be believed."""
    golden: Any = PAGE if where == "GET" else DELETED if status == 200 else {"error": {"code": "x"}}
    answer = data.draw(answers(golden, status if where == "DELETE" else 200))
    listing_lies = where == "GET" and status != 200

    def answered(request: Request) -> Answer:
        if request.method == where:
            return answer
        return said(PAGE) if request.method == "GET" else said(DELETED if status == 200 else {"error": {}}, status)

    found = place.get(lambda openai: openai.revoke(REF), answer.key, answered)
    if not isinstance(found, KeyturnError):
        assert found is None
        if where == "DELETE" and answer.document is not None:
            assert 200 <= answer.status < 300 and answer.document["deleted"] is True
        elif listing_lies and answer.document is not None:
            assert isinstance(answer.document["data"], list), "only a real list may say that the key is gone"


@fuzz(100)
@given(st.data())
def test_a_verdict_comes_of_openais_own_words_alone(place: Place, data: st.DataObject) -> None:
    status = data.draw(st.sampled_from([200, 401]))
    answer = data.draw(answers(MODELS if status == 200 else REFUSED, status))

    def answered(request: Request) -> Answer:
        return answer if FRESH in request.headers else said(REFUSED, 401)

    found = place.get(lambda openai: openai.check(KeyMaterial(FRESH)), answer.key, answered)
    assert not tells(found.reason, answer.key or FRESH)
    document = answer.document if answer.document is not None else _read(answer)
    if found.verdict is Verdict.ACCEPTED:
        assert answer.status == 200
        assert document["object"] == "list" and isinstance(document["data"], list)
    if found.verdict is Verdict.REJECTED:
        assert answer.status == 401
        assert document["error"]["code"] == "invalid_api_key"


def _read(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}


@fuzz(30)
@given(answers(REFUSED, 401))
def test_an_address_that_does_not_refuse_strangers_in_openais_words_accepts_nobody(place: Place, answer: Answer) -> None:
    def answered(request: Request) -> Answer:
        return said(MODELS) if FRESH in request.headers else answer

    found = place.get(lambda openai: openai.check(KeyMaterial(FRESH)), answer.key, answered)
    if found.verdict is Verdict.ACCEPTED:
        assert answer.status == 401 and (answer.document or _read(answer))["error"]["code"] == "invalid_api_key"


@fuzz(30)
@given(st.booleans(), answers(PAGE), answers({"object": "organization.project", "id": "proj_1", "status": "active"}))
def test_findings_quote_nothing(place: Place, account: bool, listed: Answer, project: Answer) -> None:
    def answered(request: Request) -> Answer:
        return listed if "/api_keys" in request.target else project

    findings: Sequence[Finding] = place.get(
        lambda openai: openai.preflight(), listed.key or project.key, answered, account=account
    )
    assert findings and all(finding.what and finding.ok in (True, False, None) for finding in findings)
    text = repr(findings)
    assert not any(tells(text, key) for key in (listed.key, project.key, ADMIN) if key)
