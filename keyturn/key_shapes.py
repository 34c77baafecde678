"""What a literal key looks like, by the form that its vendor gives it: for places where none may stand, or be repeated.

Forms after the vendors' pages and SDKs, and what LiteLLM reads. Keys without one (of Azure, Mistral, Cohere, an AWS secret
access key) cannot be told from other text. Tails are long enough for no word to be taken for one.
"""

from __future__ import annotations

import re

_TAIL = r"[A-Za-z0-9_-]"
_FORMS = (
    rf"sk-{_TAIL}{{16,}}",  # OpenAI, Anthropic, OpenRouter, DeepSeek, LiteLLM
    r"sk_[A-Za-z0-9]{20,}",  # ElevenLabs
    r"xai-[A-Za-z0-9]{20,}",
    r"pplx-[A-Za-z0-9]{20,}",
    r"gsk_[A-Za-z0-9]{20,}",  # Groq
    r"hf_[A-Za-z0-9]{20,}",
    r"r8_[A-Za-z0-9]{20,}",  # Replicate
    r"fw_[A-Za-z0-9]{20,}",  # Fireworks
    rf"AIza{_TAIL}{{30,}}",  # Google, and the next two
    rf"AQ\.{_TAIL}{{20,}}",
    rf"ya29\.{_TAIL}{{20,}}",
    rf"nvapi-{_TAIL}{{20,}}",
    r"csk-[a-z0-9]{20,}",  # Cerebras
    r"dapi[0-9a-f]{32}",  # Databricks
    rf"tgp_v1_{_TAIL}{{20,}}",  # Together
    rf"pa-{_TAIL}{{40,}}",  # Voyage
    r"gh[opsu]_[A-Za-z0-9]{36}",  # GitHub, and the next
    r"github_pat_[A-Za-z0-9_]{40,}",
    r"(?:AKIA|ASIA)[0-9A-Z]{16}",
    r"ABSK[A-Za-z0-9+/=]{40,}",  # Bedrock, and the next
    r"bedrock-api-key-[A-Za-z0-9+/=]{20,}",
    rf"hv[bsr]\.{_TAIL}{{16,}}",  # Vault; below its older form, which OpenBao still has
    r"s\.(?=[A-Za-z0-9]{0,23}[0-9])(?=[A-Za-z0-9]{0,23}[A-Z])[A-Za-z0-9]{24}(?![A-Za-z0-9.])",
    rf"eyJ{_TAIL}{{10,500}}\.eyJ{_TAIL}{{10,}}",  # a JSON Web Token
)
_LOGIN = r"://[^\s/@:]{0,200}:[^\s/@]{1,200}@"  # an address with a password in it
_KEY = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(_FORMS)})|{_LOGIN}|-----BEGIN [A-Z ]{{0,30}}PRIVATE KEY-----")


def literal_keys(text: str) -> list[str]:
    """The parts of a text that look like keys, or like an address with a password."""
    return [found.group() for found in _KEY.finditer(text)]


def masked(text: str) -> str:
    """The text with those parts replaced."""
    return _KEY.sub("***", text)
