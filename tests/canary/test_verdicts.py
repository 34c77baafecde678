"""What each answer of LiteLLM means: one row of the table a line, and bodies that want to be misread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from keyturn.canary.verdicts import BODY_LIMIT, Answer, Meaning, combine, read
from keyturn.model import Judgement, Verdict

A, R, INDETERMINATE = Verdict.ACCEPTED, Verdict.REJECTED, Verdict.INDETERMINATE
COMPLETION = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
HEADERS = {
    "x-litellm-call-id": "1",
    "x-litellm-model-id": "dep-1",
    "x-litellm-attempted-retries": "0",
    "x-litellm-attempted-fallbacks": "0",
}


def error(status: int, message: Any, kind: Any = "some_error") -> Answer:
    return Answer(status, {}, json.dumps({"error": {"message": message, "type": kind, "code": str(status)}}).encode())


def success(headers: Mapping[str, str] = HEADERS, body: Any = COMPLETION) -> Answer:
    return Answer(200, headers, json.dumps(body).encode())


def test_a_pinned_answer_of_the_deployment_itself_is_accepted() -> None:
    reading = read(success(), "dep-1")
    assert (reading.meaning, reading.judgement.verdict) == (Meaning.SERVED, A)


def test_a_candidate_is_accepted_whatever_id_its_one_call_was_given() -> None:
    assert read(success({**HEADERS, "x-litellm-model-id": "0f" * 32})).meaning is Meaning.SERVED


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"x-litellm-cache-key": "abc"}, "cache"),
        ({"x-litellm-attempted-retries": "1"}, "retries"),
        ({"x-litellm-attempted-fallbacks": "1"}, "fallbacks"),
        ({"x-litellm-attempted-fallbacks": "none"}, "fallbacks"),
        ({"x-litellm-model-id": "dep-2"}, "another deployment"),
        ({"x-litellm-model-id": None}, "another deployment"),
        ({"x-litellm-call-id": None}, "headers"),
    ],
)
def test_a_200_that_another_than_the_deployment_may_have_given_is_not_believed(
    changed: dict[str, str | None], words: str
) -> None:
    headers = {name: value for name, value in {**HEADERS, **changed}.items() if value is not None}
    reading = read(success(headers), "dep-1")
    assert reading.judgement.verdict is INDETERMINATE
    assert words in reading.words


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><html>Welcome</html>",
        b"",
        b'{"choices": [{"mess',
        b'{"choices": []}',
        b'{"choices": {"0": 1}}',
        b'{"choices": "many"}',
        b'{"choices": [7]}',
        b'{"choices": [null]}',
        b'{"choices": [{"index": 0}]}',
        b'{"choices": [{"message": "hi"}]}',
        b'{"choices": [{"message": {"content": "hi"}}, {"message": null}]}',
        b'{"choices": [{"message": {"content": "hi"}}], "error": {"message": "no"}}',
        b'{"choices": [{"message": {"content": "hi"}}], "choices": [{"message": {"content": "hi"}}]}',
        b'[{"choices": [1]}]',
        b"null",
        b"NaN",
        b"\xff\xfe\x00",
        b"[" * BODY_LIMIT,
        b'{"choices": [' + b"1" * BODY_LIMIT,
        b'{"choices": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_200_without_a_completion_is_not_believed(body: bytes) -> None:
    assert read(Answer(200, HEADERS, body)).judgement.verdict is INDETERMINATE


OPENAI = "litellm.AuthenticationError: AuthenticationError: OpenAIException"
BEDROCK = "litellm.AuthenticationError: BedrockException Invalid Authentication"
UNKNOWN_KEY = "The security token included in the request is invalid."


# The messages are LiteLLM 1.106.2's own, shortened.
@pytest.mark.parametrize(
    ("status", "message", "meaning"),
    [
        (
            401,
            "litellm.AuthenticationError: AuthenticationError: OpenAIException - Incorrect API key provided: sk-****.",
            Meaning.KEY_REFUSED,
        ),
        (401, "litellm.AuthenticationError: GeminiException - API key not valid.", Meaning.KEY_REFUSED),
        (401, "litellm.AuthenticationError: OpenAIException - Authentication Error, no such key", Meaning.KEY_REFUSED),
        (401, "litellm.AuthenticationError: AuthenticationError: OpenAIException - <html>hi</html>", Meaning.UNDECIDED),
        (401, "litellm.AuthenticationError: OpenAIException - \n <!DOCTYPE html>", Meaning.UNDECIDED),
        # From 1.108 on: a body that is no JSON of the provider's is not told; one that is, stands behind the code.
        (401, f"{OPENAI} - Error code: 401\n\nLiteLLM: model group 'solo-1' failed", Meaning.UNDECIDED),
        (401, f"{OPENAI} - Error code: 401", Meaning.UNDECIDED),
        (401, f"{OPENAI} - Error code: 401 - {{'detail': 'no such key'}}", Meaning.KEY_REFUSED),
        (401, "litellm.AuthenticationError: OpenAIException - Your IP 192.0.2.1 is not authorized", Meaning.FORBIDDEN),
        (401, "litellm.AuthenticationError: You must be a member of an organization to use the API", Meaning.FORBIDDEN),
        (401, f"{BEDROCK} - Unable to locate credentials\n\nLiteLLM: model group", Meaning.UNDECIDED),
        (403, f'{BEDROCK} - {{"message": "{UNKNOWN_KEY}"}}', Meaning.KEY_REFUSED),
        (401, f'{BEDROCK} - {{"message": "{UNKNOWN_KEY}"}}', Meaning.KEY_REFUSED),
        (403, f"{BEDROCK} - User is not authorized to perform: bedrock:InvokeModel", Meaning.FORBIDDEN),
        (403, f"litellm.PermissionDeniedError: {UNKNOWN_KEY}", Meaning.FORBIDDEN),
        (403, UNKNOWN_KEY, Meaning.UNDECIDED),
        (401, "Authentication Error, Invalid proxy server token passed.", Meaning.MASTER_KEY_REFUSED),
        (401, "Authentication Error, No api key passed in.", Meaning.MASTER_KEY_REFUSED),
        (400, "No connected db.", Meaning.MASTER_KEY_REFUSED),
        (401, "key not allowed to access model. This key can only access models=['a']", Meaning.MASTER_KEY_REFUSED),
        (
            401,
            "Authentication Error, Rejected Request: api_key is not allowed in request body. Clientside passthrough ...",
            Meaning.BODY_KEY_REFUSED,
        ),
        (400, "Rejected Request: api_key is not allowed in request body.", Meaning.BODY_KEY_REFUSED),
        (400, "litellm.BadRequestError: OpenAIException - n is not allowed in request body", Meaning.UNDECIDED),
        (429, "No deployments available for selected model, Try again in 5 seconds. ...", Meaning.UNDECIDED),
        (429, "litellm.RateLimitError: RateLimitError: OpenAIException - Rate limit", Meaning.UNDECIDED),
        (429, "litellm.RateLimitError: OpenAIException - You exceeded your current quota", Meaning.UNDECIDED),
        (402, "litellm.APIError: APIError: OpenAIException - Insufficient balance", Meaning.UNDECIDED),
        (403, "litellm.APIError: APIError: OpenAIException - Country not supported", Meaning.FORBIDDEN),
        (403, "litellm.AuthenticationError: AuthenticationError: not by this status", Meaning.FORBIDDEN),
        (403, "litellm.NotFoundError: OpenAIException - Project does not have access to model x", Meaning.MODEL_UNKNOWN),
        (404, "litellm.NotFoundError: OpenAIException - The model `x` does not exist", Meaning.MODEL_UNKNOWN),
        (400, "litellm.BadRequestError: OpenAIException - bad param", Meaning.UNDECIDED),
        (400, "/chat/completions: Invalid model name passed in model=nope.", Meaning.UNDECIDED),
        (408, "litellm.Timeout: APITimeoutError - Request timed out.", Meaning.UNDECIDED),
        (500, "litellm.InternalServerError: OpenAIException - Connection error.", Meaning.UNDECIDED),
        (503, "litellm.ServiceUnavailableError: OpenAIException - oops", Meaning.UNDECIDED),
        (500, "litellm.AuthenticationError: AuthenticationError: not by this status", Meaning.UNDECIDED),
        (401, "we saw litellm.AuthenticationError: somewhere", Meaning.UNDECIDED),
        (401, "", Meaning.UNDECIDED),
        (301, "Moved", Meaning.UNDECIDED),
    ],
)
def test_every_error_has_its_meaning(status: int, message: str, meaning: Meaning) -> None:
    reading = read(error(status, message), "dep-1")
    assert reading.meaning is meaning
    assert reading.judgement.verdict is (R if meaning is Meaning.KEY_REFUSED else INDETERMINATE)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((429, "litellm.RateLimitError: Rate limit"), (429, "No deployments available for selected model")),
        ((429, "litellm.RateLimitError: Rate limit"), (429, "litellm.RateLimitError: You exceeded your current quota")),
        ((402, "litellm.APIError: x"), (403, "litellm.APIError: x")),
        ((500, "litellm.InternalServerError: x"), (500, "x")),
    ],
)
def test_what_looks_alike_is_told_apart_in_words(first: tuple[int, str], second: tuple[int, str]) -> None:
    assert read(error(*first)).words != read(error(*second)).words


@pytest.mark.parametrize("status", [100, 201, 204, 302, 400, 401, 403, 404, 418, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(
    "body",
    [
        b"Internal Server Error",
        b"<html>litellm.AuthenticationError: no</html>",
        b'{"error": {"message": "litellm.AuthenticationErr',
        b'{"error": {"message": {"litellm.AuthenticationError: ": 1}}}',
        b'{"error": {"message": ["litellm.AuthenticationError: x"]}}',
        b'{"error": "litellm.AuthenticationError: x"}',
        b'{"detail": "litellm.AuthenticationError: x"}',
        b'"litellm.AuthenticationError: x"',
        b'{"error": {"message": 401}}',
        b'{"error": null}',
        b"[" * BODY_LIMIT,
        b"\xff" * 100,
        b"",
    ],
)
def test_a_body_that_is_not_litellms_says_nothing_of_the_key(status: int, body: bytes) -> None:
    reading = read(Answer(status, {}, body), "dep-1")
    assert reading.meaning is Meaning.UNDECIDED
    assert str(status) in reading.words


def test_the_words_never_quote_what_was_answered() -> None:
    for status in (200, 400, 401, 402, 403, 404, 408, 429, 500):
        for prefix in ("litellm.AuthenticationError: ", "litellm.NotFoundError: ", "Authentication Error, ", ""):
            assert "QUOTED" not in read(error(status, f"{prefix}QUOTED"), "dep-1").words


def test_a_huge_message_is_cut_before_it_is_matched() -> None:
    message = "litellm.AuthenticationError: " + "IP not <" * 100_000
    assert read(error(401, message)).meaning is Meaning.KEY_REFUSED


@pytest.mark.parametrize(
    ("direct", "through", "together"),
    [
        (A, A, A),
        (A, R, INDETERMINATE),
        (A, INDETERMINATE, INDETERMINATE),
        (R, A, INDETERMINATE),
        (R, R, R),
        (R, INDETERMINATE, R),
        (INDETERMINATE, A, INDETERMINATE),
        (INDETERMINATE, R, R),
        (INDETERMINATE, INDETERMINATE, INDETERMINATE),
    ],
)
def test_two_verdicts_make_one(direct: Verdict, through: Verdict, together: Verdict) -> None:
    found = combine(Judgement(direct, "said directly"), Judgement(through, "said through LiteLLM"))
    assert found.verdict is together
    assert found.reason


def test_verdicts_that_contradict_each_other_say_what_to_look_at() -> None:
    found = combine(Judgement(A, ""), Judgement(R, ""))
    assert "api_base" in found.reason
    assert "route" in found.reason


def test_the_reason_is_that_of_the_verdict() -> None:
    assert combine(Judgement(INDETERMINATE, "slow"), Judgement(R, "refused")).reason == "refused"
    assert combine(Judgement(R, "refused"), Judgement(INDETERMINATE, "slow")).reason == "refused"
    assert combine(Judgement(A, "good"), Judgement(INDETERMINATE, "slow")).reason == "slow"
    assert combine(Judgement(INDETERMINATE, "slow"), Judgement(A, "good")).reason == "slow"
