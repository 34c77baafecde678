"""Variables that LiteLLM reads for the same provider: a stale one beside ours can defeat a rotation.

Read in LiteLLM 1.106.2: it takes the first that is set, in this order.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

FAMILIES = (
    ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
    ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    ("TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_TOKEN"),
    ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", "FIREWORKSAI_API_KEY", "FIREWORKS_AI_TOKEN"),
    ("VOYAGE_API_KEY", "VOYAGE_AI_API_KEY", "VOYAGE_AI_TOKEN"),
    ("COHERE_API_KEY", "CO_API_KEY"),
    ("REPLICATE_API_KEY", "REPLICATE_API_TOKEN"),
    ("OPENROUTER_API_KEY", "OR_API_KEY"),
    ("HF_TOKEN", "HUGGINGFACE_API_KEY"),
)

# Any of these comes first, whatever it is: a bearer token before the signature, a profile before a pair.
BEFORE = {"AWS_ACCESS_KEY_ID": ("AWS_BEARER_TOKEN_BEDROCK", "AWS_PROFILE_NAME")}


def family_of(name: str) -> tuple[str, ...]:
    """All names that LiteLLM reads where it reads this one, in its order; () for a name that stands alone."""
    return next((family for family in FAMILIES if name in family), ())


def shadowing(name: str, environment: Mapping[str, str]) -> list[str]:
    """The other names for `name` that this environment sets to another value, and those that LiteLLM reads before it."""
    family = family_of(name)
    ours = environment.get(name, "").encode()
    theirs = {other: environment.get(other, "") for other in family if other != name}
    found = [other for other, value in theirs.items() if value and not hmac.compare_digest(value.encode(), ours)]
    return found + [other for other in BEFORE.get(name, ()) if environment.get(other)]
