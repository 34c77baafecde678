"""What a program is given as its environment: what keyturn itself was started with, less its own, and the keys.

Imports little, for the lean start (keyturn.delivery.lean) uses it too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from keyturn.delivery.aliases import shadowing
from keyturn.material import KeyMaterial

OWN_PREFIX = "KEYTURN_"


def inherited(environment: Mapping[str, str], strip: Collection[str]) -> dict[str, str]:
    """The environment without what is keyturn's own: KEYTURN_*, and the variables of its credentials."""
    return {name: value for name, value in environment.items() if not name.startswith(OWN_PREFIX) and name not in strip}


def with_keys(environment: Mapping[str, str], keys: Mapping[str, KeyMaterial]) -> dict[str, str]:
    """The environment with the keys in it, by variable: the one place where they are text. Nobody keeps it."""
    return {**environment, **{name: material.reveal() for name, material in keys.items()}}


def shadowed(environment: Mapping[str, str], names: Collection[str]) -> list[str]:
    """The variables that LiteLLM may read instead of one of these, and that are set to another value."""
    return sorted({other for name in names for other in shadowing(name, environment)})


def overridden(environment: Mapping[str, str], names: Collection[str]) -> list[str]:
    """Warnings: which of these variables were set already, and get the store's value."""
    return [
        f"{name} is set in keyturn's own environment: the program gets the store's value instead"
        for name in names
        if name in environment
    ]


def shadowing_words(others: Collection[str]) -> str:
    """The warning for what `shadowed` found."""
    return f"set to another value, and may be read instead of ours: {', '.join(others)}"
