"""Variables that LiteLLM reads for the same provider: a stale one beside ours can defeat a rotation.

Read in LiteLLM 1.106.2: it takes the first that is set, in this order.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

_FAMILIES = (
    ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
    ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    ("TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_TOKEN"),
)


def shadowing(name: str, environment: Mapping[str, str]) -> list[str]:
    """The other names for `name` that this environment sets to another value."""
    family = next((family for family in _FAMILIES if name in family), ())
    ours = environment.get(name, "").encode()
    theirs = {other: environment.get(other, "") for other in family if other != name}
    return [other for other, value in theirs.items() if value and not hmac.compare_digest(value.encode(), ours)]
