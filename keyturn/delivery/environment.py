"""What a program is given as its environment: what keyturn itself was started with, less its own, and the keys.

Imports little, for the lean start (keyturn.delivery.lean) uses it too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from keyturn.delivery.aliases import shadowing
from keyturn.material import KeyMaterial

OWN_PREFIX = "KEYTURN_"

# What belongs to another key of the same name, and is none beside ours: it would be sent along, and both be refused.
_GOES_WITH_ANOTHER = {"AWS_ACCESS_KEY_ID": ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")}


def inherited(environment: Mapping[str, str], strip: Collection[str]) -> dict[str, str]:
    """The environment without what is keyturn's own: KEYTURN_*, and the variables of its credentials."""
    return {name: value for name, value in environment.items() if not name.startswith(OWN_PREFIX) and name not in strip}


def with_keys(environment: Mapping[str, str], keys: Mapping[str, KeyMaterial]) -> dict[str, str]:
    """The environment with the keys in it, by variable: the one place where they are text. Nobody keeps it."""
    others = _of_others(keys)
    kept = {name: value for name, value in environment.items() if name not in others}
    return {**kept, **{name: material.reveal() for name, material in keys.items()}}


def shadowed(environment: Mapping[str, str], names: Collection[str]) -> list[str]:
    """The variables that LiteLLM may read instead of one of these, and that are set to another value."""
    return sorted({other for name in names for other in shadowing(name, environment)})


def overridden(environment: Mapping[str, str], names: Collection[str]) -> list[str]:
    """Warnings: which of these variables were set already, and get the store's value; and which are taken away for them."""
    replaced = [
        f"{name} is set in keyturn's own environment: the program gets the store's value instead"
        for name in names
        if name in environment
    ]
    taken = [
        f"{name} is set in keyturn's own environment, and belongs to another key than ours: the program does not get it"
        for name in _of_others(names)
        if name in environment
    ]
    return replaced + taken


def shadowing_words(others: Collection[str]) -> str:
    """The warning for what `shadowed` found."""
    return f"set to another value, and may be read instead of ours: {', '.join(others)}"


def _of_others(names: Collection[str]) -> list[str]:
    return [other for name in names for other in _GOES_WITH_ANOTHER.get(name, ()) if other not in names]
