"""Keys of OpenAI's form, generated at run time: a scanner that knows the real ones must know these too.

The form is `sk-<kind>-`, 74 characters, a mark that all of OpenAI's keys bear, 74 characters: the rule `openai-api-key` of
gitleaks 8.30.1 and of betterleaks 2.0.0. OpenAI documents none.
"""

from __future__ import annotations

import secrets
import string

from keyturn.material import KeyMaterial

LONGEST_LITERAL = 30

_ALPHABET = string.ascii_letters + string.digits
_MARK = "T3BlbkFJ"
_HALF = 74
_TAIL = 4  # what a provider's redacted form shows of the end


def openai_key(kind: str, literal: str = "") -> KeyMaterial:
    """A new key. `kind`: svcacct, proj or admin. `literal`: stands twice in each half, so that all but short pieces of the
    key hold it; the rest, the last four characters among it, is random. ValueError for a literal that leaves too little."""
    if len(literal) > LONGEST_LITERAL:
        raise ValueError(f"a literal has at most {LONGEST_LITERAL} characters")
    return KeyMaterial(f"sk-{kind}-{_half(literal)}{_MARK}{_half(literal)}")


def _half(literal: str) -> str:
    return literal + _random(_HALF - 2 * len(literal) - _TAIL) + literal + _random(_TAIL)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
