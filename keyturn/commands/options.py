"""What is typed on the command line, checked. A refusal says what to write, and never what was written: it may be a key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from keyturn import durations
from keyturn.errors import MisconfiguredError
from keyturn.references import Address, SecretReference

_REFERENCE: TypeAdapter[str] = TypeAdapter(SecretReference)
_ADDRESS: TypeAdapter[str] = TypeAdapter(Address)


def duration(option: str, text: str) -> timedelta:
    """90s, 10m, 24h. MisconfiguredError for anything else."""
    try:
        return durations.parse(text)
    except ValueError as error:
        raise MisconfiguredError(f"{option} {error}") from None


def reference(option: str, text: str) -> str:
    """env:NAME, file:PATH or store:NAME/PATH#FIELD. MisconfiguredError for anything else."""
    return _checked(
        _REFERENCE, option, text, "must be a reference to a secret: env:NAME, file:PATH or store:NAME/PATH#FIELD"
    )


def address(option: str, text: str) -> str:
    """http://HOST:PORT/PATH. MisconfiguredError for anything else."""
    return _checked(_ADDRESS, option, text, "must be an http:// or https:// address without a user name or password in it")


def _checked(adapter: TypeAdapter[Any], option: str, text: str, sentence: str) -> str:
    try:
        found: str = adapter.validate_python(text)
    except ValidationError:
        raise MisconfiguredError(f"{option} {sentence}") from None
    return found
