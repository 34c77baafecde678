"""Names that hold secrets, and values that are some: what is written out, and neither a reference nor a stand-in."""

from __future__ import annotations

import re

_NAME = re.compile(
    r"(?:.{0,200}[_.-])?(?:api[_-]?key|access[_-]?key|secret[_-]?key|master[_-]?key|salt[_-]?key|private[_-]?key|signing[_-]?key"
    r"|admin[_-]?key|client[_-]?secret|secret|secret[_-]?id|password|passwd|token|auth[_-]?string|bearer[_-]?token[_-]?bedrock)",
    re.IGNORECASE,
)
# What stands for something that is elsewhere: LiteLLM's, keyturn's, Compose's and Kubernetes' own forms, paths, addresses.
_REFERENCE = re.compile(
    r"os\.environ|oidc/|env:|file:|store:|vault:|op://|secret:|arn:|projects/|ENC\[|\$|<|\{\{|/|\./|https?://|unix:",
    re.IGNORECASE,
)
_STAND_IN = re.compile(
    r"(?<![A-Za-z0-9])(?:x{3,}|dummy|fake|example|placeholder|your|change[-_ ]?(?:me|it)|todo|insert|replace|none|empty|"
    r"anything|not[-_ ]?(?:needed|used|required|set)|no[-_ ]?key|redacted|unused|null|\*{3,}|\.{3,})"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_RUN = re.compile(r"(.)\1{7}")
_NUMBER = re.compile(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?")  # what a token costs, how many there may be
_PREFIX = re.compile(r"sk-(?:ant-[a-z]{1,8}\d\d|or-v\d|proj|svcacct|admin)-|[A-Za-z0-9]{1,8}[-_.]")
_NEVER_A_STAND_IN = ("-----BEGIN", "AKIA", "ASIA")  # short, or in one case, by their form
_COMPOSE = re.compile(r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rest>[^{}]*)\}|\$[A-Za-z_][A-Za-z0-9_]*")
_SHORTEST = 8

EXAMPLE = "sk-1234"  # the master key of LiteLLM's documentation


def holds_secret(name: str) -> bool:
    return len(name) <= 200 and _NAME.fullmatch(name) is not None


def is_written_out(value: str) -> bool:
    """Whether a value under a secret's name is one, and not a reference, a variable's name or a stand-in."""
    value = value.strip()
    return not (
        len(value) < _SHORTEST
        or _REFERENCE.match(value)
        or "${" in value
        or "{{" in value
        or _VARIABLE.fullmatch(value)
        or _NUMBER.fullmatch(value)
        or _STAND_IN.search(value)
        or _RUN.search(value)
        or re.search(r"\s", value)
    )


def is_stand_in(key: str) -> bool:
    """Whether what has the form of a key is one of documentation: words in one case without a digit, or a run.

    No real key is that: 16 letters and digits at random are letters of one case in two of a million draws.
    """
    if key.endswith("EXAMPLE") or _RUN.search(key):
        return True
    if key.startswith(_NEVER_A_STAND_IN):
        return False
    tail = _PREFIX.sub("", key, count=1)
    return not any(each.isdigit() for each in tail) and (tail == tail.lower() or tail == tail.upper())


def after_compose(text: str) -> str:
    """What Docker Compose makes of it where nothing is set: defaults stand, names are gone, `$$` is `$`.

    Empty for a value that is only a reference. Source: Compose's page on interpolation.
    """
    return _COMPOSE.sub(_default, text)


def _default(found: re.Match[str]) -> str:
    if found.group() == "$$":
        return "$"
    rest = found["rest"] or ""
    return rest[2:] if rest.startswith(":-") else rest[1:] if rest.startswith("-") else ""
