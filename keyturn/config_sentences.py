"""What is told of a setting that does not fit, in words of ours."""

from __future__ import annotations

_TYPES = {
    "string_type": "text: put it into quotes",
    "tuple_type": "a list",
    "model_type": "a mapping of settings",
    "path_type": "the path of a file",
}


def sentence_of(kind: str, message: str) -> str:
    """By pydantic's kind of error, else its message, which quotes no input."""
    if kind == "extra_forbidden":
        return "unknown setting"
    if kind == "missing":
        return "is missing"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}"
    return message.removeprefix("Value error, ")
