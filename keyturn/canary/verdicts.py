"""What LiteLLM's answer to a canary means: a table from (status, headers, body) to a meaning and words of ours.

Pure. UNDECIDED is the answer to everything the table does not name; only one row, the provider's own 401, rejects a key.
Rows were measured against LiteLLM 1.106.2, with and without its optional `prisma` package. What a provider said always
stands behind `litellm.<Class>: ` there, so a message that begins otherwise is the proxy's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from keyturn.json_object import inside, json_object
from keyturn.model import Judgement, Verdict

BODY_LIMIT = 64 * 1024  # a canary's answer has 1 KB; more is not read
_MESSAGE_LIMIT = 4 * 1024


class Meaning(StrEnum):
    """Why the verdict is what it is, as far as the caller goes on differently."""

    SERVED = "served"
    KEY_REFUSED = "key refused"  # by the provider
    MASTER_KEY_REFUSED = "master key refused"  # by the proxy: says nothing about the key under test
    BODY_KEY_REFUSED = "body key refused"  # this proxy takes no api_key in a request's body
    MODEL_UNKNOWN = "model unknown"  # to the provider
    FORBIDDEN = "forbidden"  # by the provider: the address, the account or the permission; not the key itself
    UNDECIDED = "undecided"


_VERDICTS = {Meaning.SERVED: Verdict.ACCEPTED, Meaning.KEY_REFUSED: Verdict.REJECTED}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `headers` are looked up in lower case; `body` is empty where it is longer than BODY_LIMIT."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> dict[str, Any]:
        """The JSON object in the body; empty where there is none."""
        return json_object(self.body)


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer means, and why, in words of ours."""

    meaning: Meaning
    words: str

    @property
    def judgement(self) -> Judgement:
        return Judgement(_VERDICTS.get(self.meaning, Verdict.INDETERMINATE), self.words)


@dataclass(frozen=True, slots=True)
class _Row:
    """Applies to an error of one of these statuses whose message matches from its start. The first such row counts."""

    statuses: tuple[int, ...]
    message: str
    meaning: Meaning
    words: str

    def applies(self, status: int, message: str) -> bool:
        return status in self.statuses and re.match(self.message, message, re.DOTALL | re.IGNORECASE) is not None


_SERVER_ERRORS = tuple(range(500, 600))

_ROWS = (
    # The proxy's own words. The ban is worded as an 'Authentication Error' too, so it comes first.
    _Row(
        (400, 401, 403),
        r"(?!litellm\.).*not allowed in request body",
        Meaning.BODY_KEY_REFUSED,
        "this LiteLLM takes no api_key in a request's body",
    ),
    _Row((401, 403), r"Authentication Error", Meaning.MASTER_KEY_REFUSED, "the proxy refuses our master key"),
    _Row((400,), r"No connected db", Meaning.MASTER_KEY_REFUSED, "the proxy refuses our master key"),
    _Row(
        (401, 403),
        r"(?!litellm\.).*not allowed to access model",
        Meaning.MASTER_KEY_REFUSED,
        "the proxy does not let our key use the canary's model: it is not the master key",
    ),
    _Row(
        (400,),
        r"(?!litellm\.).*Invalid model name",
        Meaning.UNDECIDED,
        "the proxy no longer knows the deployment (400)",
    ),
    _Row(
        (429,),
        r"No deployments available",
        Meaning.UNDECIDED,
        "LiteLLM has the deployment in cooldown after a failure (429): neither throttled nor refused",
    ),
    # The provider's words, as LiteLLM hands them on.
    _Row(
        (401,),
        r"litellm\.AuthenticationError.*<\s*(!doctype|html)",
        Meaning.UNDECIDED,
        "a web page answered 401 between LiteLLM and the provider's API",
    ),
    _Row(
        # The same from 1.108 on, which tells nothing of a body that is not the provider's JSON (measured: 1.108.7, 1.109.1).
        (401,),
        r"litellm\.AuthenticationError.* - Error code: 401\s*(\n|\Z)",
        Meaning.UNDECIDED,
        "something answered 401 between LiteLLM and the provider's API, without its words",
    ),
    _Row(
        # OpenAI's guide to error codes lists both under 401, beside 'Incorrect API key provided'.
        (401,),
        r"litellm\.AuthenticationError.*(ip_not_authorized|\bIP\b.{0,80}not (authorized|allowed)|member of an organi)",
        Meaning.FORBIDDEN,
        "the provider refuses the address or the account, not the key (401)",
    ),
    _Row(
        (401, 403),
        r"litellm\.AuthenticationError.*Unable to locate credentials",
        Meaning.UNDECIDED,
        "LiteLLM has no credentials of AWS there, and asked nobody",
    ),
    _Row(
        # UnrecognizedClientException, as the runtime of Bedrock words it. (A pair with another key's session token, too.)
        (403,),
        r"litellm\.AuthenticationError: BedrockException.*The security token included in the request is invalid",
        Meaning.KEY_REFUSED,
        "the provider refuses the key (403, through LiteLLM)",
    ),
    _Row(
        (401,), r"litellm\.AuthenticationError: ", Meaning.KEY_REFUSED, "the provider refuses the key (401, through LiteLLM)"
    ),
    _Row(
        (403, 404),
        r"litellm\.NotFoundError: ",
        Meaning.MODEL_UNKNOWN,
        "the provider does not know the deployment's model, or not for this account",
    ),
    _Row((402,), r"litellm\.", Meaning.UNDECIDED, "the provider asks for payment (402)"),
    _Row((403,), r"litellm\.", Meaning.FORBIDDEN, "the provider forbids the call (403): permission, region or model"),
    _Row((429,), r"litellm\..*quota", Meaning.UNDECIDED, "the provider says that the quota is used up (429)"),
    _Row((429,), r"litellm\.", Meaning.UNDECIDED, "the provider throttles (429)"),
    _Row((408, 504), r"litellm\.", Meaning.UNDECIDED, "the provider did not answer LiteLLM in time"),
    _Row((400, 422), r"litellm\.", Meaning.UNDECIDED, "the provider does not take the canary's request (400)"),
    _Row(_SERVER_ERRORS, r"litellm\.", Meaning.UNDECIDED, "the provider fails, or LiteLLM cannot reach it (5xx)"),
)


def read(answer: Answer, deployment: str | None = None) -> Reading:
    """What the answer to a chat completion means. `deployment`: the id that must have answered; None: any."""
    if answer.status == 200:
        return _read_success(answer, deployment)
    message = _message(answer)
    for row in _ROWS:
        if message and row.applies(answer.status, message):
            return Reading(row.meaning, row.words)
    if message is None:
        return Reading(Meaning.UNDECIDED, f"the answer is not LiteLLM's (status {answer.status}, no error object)")
    return Reading(Meaning.UNDECIDED, f"LiteLLM answered {answer.status} for a reason not known to say anything of the key")


def _read_success(answer: Answer, deployment: str | None) -> Reading:
    document = answer.document()
    choices = document.get("choices")
    if document.get("error") or not isinstance(choices, list) or not all(map(_is_choice, choices or [None])):
        return Reading(Meaning.UNDECIDED, "what answered 200 is not a chat completion")
    head = answer.headers
    # LiteLLM sends it with every completion. Where it is missing, something strips headers, and the absence of others
    # tells nothing.
    if "x-litellm-call-id" not in head:
        return Reading(Meaning.UNDECIDED, "the answer does not carry LiteLLM's headers")
    if "x-litellm-cache-key" in head:
        return Reading(Meaning.UNDECIDED, "LiteLLM's cache answered, not the provider")
    for name in ("retries", "fallbacks"):
        if head.get(f"x-litellm-attempted-{name}", "0") != "0":
            return Reading(Meaning.UNDECIDED, f"LiteLLM answered after {name}: another key may have served the call")
    if deployment is not None and head.get("x-litellm-model-id") != deployment:
        return Reading(Meaning.UNDECIDED, "another deployment answered than the one that was asked")
    return Reading(Meaning.SERVED, "the provider answered through LiteLLM, with no cache, retry or fallback")


def _is_choice(value: Any) -> bool:
    return isinstance(inside(value, "message"), dict)


def _message(answer: Answer) -> str | None:
    """LiteLLM's `error.message`; None where the body is no such thing."""
    message = inside(answer.document(), "error", "message")
    return message[:_MESSAGE_LIMIT] if isinstance(message, str) else None


def combine(direct: Judgement, through: Judgement) -> Judgement:
    """One verdict from the provider's own check and the call through LiteLLM.

    ACCEPTED when both accept. REJECTED when one rejects and the other does not accept. Where the two contradict each
    other the routes differ, and nothing is known of the key.
    """
    verdicts = (direct.verdict, through.verdict)
    if verdicts == (Verdict.ACCEPTED, Verdict.ACCEPTED):
        return through
    if verdicts == (Verdict.ACCEPTED, Verdict.REJECTED):
        return Judgement(
            Verdict.INDETERMINATE,
            "the provider accepts the key, but the deployment's route refuses it: "
            "does its api_base point at the same provider?",
        )
    if verdicts == (Verdict.REJECTED, Verdict.ACCEPTED):
        return Judgement(
            Verdict.INDETERMINATE,
            "the provider refuses the key when asked directly, but answers it through LiteLLM: it is only just becoming "
            "valid, or the deployment's api_base points at another provider",
        )
    if Verdict.REJECTED in verdicts:
        return direct if direct.verdict is Verdict.REJECTED else through
    return through if through.verdict is Verdict.INDETERMINATE else direct
