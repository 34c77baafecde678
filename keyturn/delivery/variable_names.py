"""Under which name LiteLLM reads a key. Imports next to nothing, for the lean start (keyturn.delivery.lean) uses it too."""

from __future__ import annotations

import re

# Read by LiteLLM 1.106.2 for a model of that provider when the configuration names no variable.
BY_PROVIDER_KIND = {
    "anthropic": "ANTHROPIC_API_KEY",
    "cloudflare": "CLOUDFLARE_API_KEY",
    "databricks": "DATABRICKS_API_KEY",
    "elevenlabs": "ELEVENLABS_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
    "huggingface": "HUGGINGFACE_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "snowflake": "SNOWFLAKE_JWT",
    "voyage_atlas": "VOYAGE_API_KEY",
    "xai": "XAI_API_KEY",
}

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def name_of(env: str | None, field: str | None, provider_kind: str) -> str | None:
    """`env` of the credential; else the secret's field, if it looks like a variable; else the provider's usual name."""
    return env or (field if field and _VARIABLE.fullmatch(field) else BY_PROVIDER_KIND.get(provider_kind))
