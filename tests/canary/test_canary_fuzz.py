"""Whatever answers in LiteLLM's place: a verdict comes of its own words alone, and nothing of them is told."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.canary import LiteLLMCanary
from keyturn.errors import KeyturnError
from keyturn.material import KeyMaterial
from keyturn.model import Finding, Judgement, Member, Verdict
from tests.canary.fake_litellm import always
from tests.hostile import Answer, answers, fuzz, quietly, said, tells
from tests.wire import Request, Wire

MASTER, CANDIDATE = "master-" + secrets.token_hex(24), "fresh-" + secrets.token_hex(24)
MODELS = {"data": [{"model_name": "gpt", "model_info": {"id": "gpt-1"}}, {"model_name": "b", "model_info": {"id": "b-1"}}]}
READY = {"status": "healthy", "litellm_version": "1.106.2"}
SERVED = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
    "usage": {"total_tokens": 9},
}
REFUSED = {"error": {"message": "litellm.AuthenticationError: OpenAIException - no", "type": None, "code": "401"}}
HEADERS = (
    ("x-litellm-call-id", "1"),
    ("x-litellm-model-id", "gpt-1"),
    ("x-litellm-attempted-retries", "0"),
    ("x-litellm-attempted-fallbacks", "0"),
)
Call = Callable[[LiteLLMCanary], Coroutine[Any, Any, Any]]
CALLS: dict[str, Call] = {
    "candidate": lambda canary: canary.candidate(KeyMaterial(CANDIDATE)),
    "member": lambda canary: _ask_its_member(canary),
    "preflight": lambda canary: canary.preflight(),
}


async def _ask_its_member(canary: LiteLLMCanary) -> Judgement:
    (member,) = await canary._members()
    return await canary.member(member)


async def master_key() -> KeyMaterial:
    return KeyMaterial(MASTER)


async def check(material: KeyMaterial) -> Judgement:
    return Judgement(Verdict.ACCEPTED, "directly")


class Place:
    """A canary of one member, and what answers in that one's place."""

    def __init__(self, wire: Wire, runner: asyncio.Runner) -> None:
        self.wire, self._runner = wire, runner
        self.canary = LiteLLMCanary(always(Member("one", wire.url)), master_key, "gpt", None, check, timedelta(seconds=5))

    def get(self, call: Call, answer: Callable[[Request], Answer]) -> Any:
        """What the call gives, or its error. Every answer has LiteLLM's headers beside its own."""
        keys: set[str] = set()

        def answered(request: Request) -> bytes:
            given = answer(request)
            keys.add(given.key)
            return given.with_headers(*HEADERS).raw

        self.wire.answer = answered
        found = quietly(lambda: self._runner.run(call(self.canary)), MASTER, CANDIDATE)
        assert not any(tells(f"{found} {found!r}", key) for key in keys if key)
        return found


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with asyncio.Runner() as runner, Wire(lambda request: b"") as wire:
        yield Place(wire, runner)


def proper(request: Request) -> Answer:
    if request.target == "/model/info":
        return said(MODELS)
    if request.method == "GET":
        return said(READY)
    key = json.loads(request.body).get("api_key")
    return said(SERVED) if key in (None, CANDIDATE) else said(REFUSED, 401)


def completion(request: Request, answer: Answer, api_key: str | None) -> Answer:
    asked = request.method == "POST" and json.loads(request.body).get("api_key") == api_key
    return answer if asked else proper(request)


def document_of(answer: Answer) -> Any:
    if answer.document is not None:
        return answer.document
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}


def may_be_served(answer: Answer) -> None:
    document = document_of(answer)
    assert answer.status == 200
    assert all(isinstance(choice["message"], dict) for choice in document["choices"])
    assert not document.get("error")


@fuzz(60)
@given(st.data())
def test_a_candidate_is_accepted_or_rejected_in_litellms_words_alone(place: Place, data: st.DataObject) -> None:
    status = data.draw(st.sampled_from([200, 401]))
    answer = data.draw(answers(SERVED if status == 200 else REFUSED, status))
    found = place.get(
        lambda canary: canary.candidate(KeyMaterial(CANDIDATE)), lambda request: completion(request, answer, CANDIDATE)
    )
    if isinstance(found, KeyturnError):
        return
    if found.verdict is Verdict.ACCEPTED and "alone" not in found.reason:
        may_be_served(answer)
    assert found.verdict is not Verdict.REJECTED, "the provider accepts it directly"


@fuzz(50)
@given(st.data())
def test_a_member_is_accepted_or_rejected_in_litellms_words_alone(place: Place, data: st.DataObject) -> None:
    status = data.draw(st.sampled_from([200, 401]))
    answer = data.draw(answers(SERVED if status == 200 else REFUSED, status))
    found = place.get(CALLS["member"], lambda request: completion(request, answer, None))
    if isinstance(found, KeyturnError):
        return
    if found.verdict is Verdict.ACCEPTED:
        may_be_served(answer)
    if found.verdict is Verdict.REJECTED:
        assert answer.status == 401
        assert document_of(answer)["error"]["message"].startswith("litellm.AuthenticationError")


@fuzz(50)
@given(st.sampled_from(["/model/info", "/health"]), st.data())
def test_what_a_member_says_of_itself_is_read_or_not(place: Place, path: str, data: st.DataObject) -> None:
    answer = data.draw(answers(MODELS if path == "/model/info" else READY))

    def answered(request: Request) -> Answer:
        return answer if request.target.startswith(path) else proper(request)

    verb = data.draw(st.sampled_from(sorted(CALLS)))
    found = place.get(CALLS[verb], answered)
    assert isinstance(found, KeyturnError | Judgement | list)
    if isinstance(found, list):
        assert all(isinstance(finding, Finding) and isinstance(finding.ok, bool | None) for finding in found)


@fuzz(30)
@given(answers(REFUSED, 401))
def test_a_garbage_key_has_to_be_refused_in_litellms_words(place: Place, answer: Answer) -> None:
    """Else nothing is concluded from an acceptance."""

    def answered(request: Request) -> Answer:
        key = json.loads(request.body).get("api_key", "") if request.method == "POST" else ""
        return answer if key.startswith("sk-keyturn-control-") else proper(request)

    found = place.get(CALLS["candidate"], answered)
    if not isinstance(found, KeyturnError) and found.verdict is Verdict.ACCEPTED and "alone" not in found.reason:
        assert answer.status == 401
        assert document_of(answer)["error"]["message"].startswith("litellm.AuthenticationError")
