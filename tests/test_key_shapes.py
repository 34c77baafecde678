"""Keys are told by their forms, with a name for each, and nothing of them is repeated."""

from __future__ import annotations

import pytest

from keyturn.key_shapes import key_forms, literal_keys, masked, shown
from tests.hostile import PLANTED

CALLED = {
    "openai_project": "an OpenAI key",
    "openai": "a key of OpenAI, LiteLLM, DeepSeek or the like",
    "anthropic": "an Anthropic key",
    "openrouter": "an OpenRouter key",
    "google_bound": "a Google API key",
    "bedrock": "a Bedrock API key",
    "vault_old": "a Vault token",
    "aws_temporary": "an AWS access key id",
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_each_form_is_found_at_its_place(name: str) -> None:
    key = PLANTED[name]
    (found,) = key_forms(f"before: {key}")
    assert (found.start, found.name) == (8, CALLED.get(name, found.name))
    assert masked(f"a {key} b").startswith("a ***")
    assert shown(key) == "***"


def test_an_address_with_a_password_and_a_private_key() -> None:
    login, begin = key_forms("x https://a:b@c -----BEGIN RSA PRIVATE KEY-----")
    assert (login.is_address, begin.is_address, begin.name) == (True, False, "a private key")


@pytest.mark.parametrize("text", ["", "risk-management-of-it", "ask-me", "sk-short", "OPENAI_API_KEY", "https://a/b@c"])
def test_words_are_no_keys(text: str) -> None:
    assert literal_keys(text) == []
