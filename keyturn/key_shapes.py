"""What a literal key looks like, by the form that its vendor gives it: for places where none may stand, or be repeated.

Forms after the vendors' pages and SDKs, and what LiteLLM reads. Keys without one (of Azure, Mistral, Cohere, an AWS secret
access key) cannot be told from other text. Tails are long enough for no word to be taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TAIL = r"[A-Za-z0-9_-]"
_LOGIN = "an address with a password in it"
_FORMS = (  # what to call it, and its form; no groups inside
    ("an Anthropic key", rf"sk-ant-{_TAIL}{{16,}}"),
    ("an OpenRouter key", rf"sk-or-{_TAIL}{{16,}}"),
    ("an OpenAI key", rf"sk-(?:proj|svcacct|admin)-{_TAIL}{{16,}}"),
    ("a key of OpenAI, LiteLLM, DeepSeek or the like", rf"sk-{_TAIL}{{16,}}"),
    ("an ElevenLabs key", r"sk_[A-Za-z0-9]{20,}"),
    ("an xAI key", r"xai-[A-Za-z0-9]{20,}"),
    ("a Perplexity key", r"pplx-[A-Za-z0-9]{20,}"),
    ("a Groq key", r"gsk_[A-Za-z0-9]{20,}"),
    ("a Hugging Face token", r"hf_[A-Za-z0-9]{20,}"),
    ("a Replicate token", r"r8_[A-Za-z0-9]{20,}"),
    ("a Fireworks key", r"fw_[A-Za-z0-9]{20,}"),
    ("a Google API key", rf"AIza{_TAIL}{{30,}}"),
    ("a Google API key", rf"AQ\.{_TAIL}{{20,}}"),
    ("a Google access token", rf"ya29\.{_TAIL}{{20,}}"),
    ("an NVIDIA key", rf"nvapi-{_TAIL}{{20,}}"),
    ("a Cerebras key", r"csk-[a-z0-9]{20,}"),
    ("a Databricks token", r"dapi[0-9a-f]{32}"),
    ("a Together key", rf"tgp_v1_{_TAIL}{{20,}}"),
    ("a Voyage key", rf"pa-{_TAIL}{{40,}}"),
    ("a GitHub token", r"gh[opsu]_[A-Za-z0-9]{36}"),
    ("a GitHub token", r"github_pat_[A-Za-z0-9_]{40,}"),
    ("an AWS access key id", r"(?:AKIA|ASIA)[0-9A-Z]{16}"),
    ("a Bedrock API key", r"ABSK[A-Za-z0-9+/=]{40,}"),
    ("a Bedrock API key", r"bedrock-api-key-[A-Za-z0-9+/=]{20,}"),
    ("a Vault token", rf"hv[bsr]\.{_TAIL}{{16,}}"),
    # Vault's older form, which OpenBao still has.
    ("a Vault token", r"s\.(?=[A-Za-z0-9]{0,23}[0-9])(?=[A-Za-z0-9]{0,23}[A-Z])[A-Za-z0-9]{24}(?![A-Za-z0-9.])"),
    ("a JSON Web Token", rf"eyJ{_TAIL}{{10,500}}\.eyJ{_TAIL}{{10,}}"),
)
_ELSEWHERE = (  # may follow upon a letter, too
    (_LOGIN, r"://[^\s/@:]{0,200}:[^\s/@]{1,200}@"),
    ("a private key", r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"),
)
_NAMES = [name for name, _ in (*_FORMS, *_ELSEWHERE)]
_ALL = [rf"({form})" for _, form in (*_FORMS, *_ELSEWHERE)]
_KEY = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(_ALL[: len(_FORMS)])})|{'|'.join(_ALL[len(_FORMS) :])}")
_OPAQUE = re.compile(r"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{20,}")  # may be a key without a form
_SHOWN = re.compile(r"[A-Za-z0-9_.@/+*-]{1,60}")


@dataclass(frozen=True, slots=True)
class KeyForm:
    """Where in a text something looks like a key, and what to call it. The text itself is not in here."""

    name: str
    start: int
    end: int

    @property
    def is_address(self) -> bool:
        """An address with a password in it, from its `://` to its `@`."""
        return self.name == _LOGIN


def key_forms(text: str) -> Iterator[KeyForm]:
    """The places of a text that look like keys, or like an address with a password."""
    for found in _KEY.finditer(text):
        yield KeyForm(_NAMES[(found.lastindex or 1) - 1], found.start(), found.end())


def literal_keys(text: str) -> list[str]:
    """The parts of a text that look like keys, or like an address with a password."""
    return [text[each.start : each.end] for each in key_forms(text)]


def masked(text: str) -> str:
    """The text with those parts replaced."""
    return _KEY.sub("***", text)


def is_opaque(text: str) -> bool:
    """Whether 20 letters and digits stand in a row in it: it may be, or hold, a key without a form."""
    return _OPAQUE.search(text) is not None


def shown(name: str) -> str:
    """A name for a message, `***` where it could be a key that was pasted at the wrong place."""
    return name if _SHOWN.fullmatch(name) and not literal_keys(name) and not is_opaque(name) else "***"
