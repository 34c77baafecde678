"""A key of several parts: one text, a JSON object of a few texts, which whoever is given it takes apart.

What is created, stored, compared and fingerprinted is the whole text. It is taken apart where it is handed to a program or
to LiteLLM, and nowhere before: so its parts are always of one version.

Imports little, for the lean start (keyturn.delivery.lean) uses it too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from keyturn.errors import MisconfiguredError
from keyturn.json_object import json_object
from keyturn.material import KeyMaterial


class Part(NamedTuple):
    """`name`: LiteLLM's parameter for it, in its configuration and in a request. `variable`: where LiteLLM reads it by
    itself; it is the part's name in the text, too. `prefix` and `length` (characters in all): what one looks like.
    """

    name: str
    variable: str
    prefix: str
    length: int


AWS_ACCESS_KEY = (
    Part("aws_access_key_id", "AWS_ACCESS_KEY_ID", "AKIA", 20),
    Part("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "", 40),
)


def joined(texts: Mapping[str, str]) -> str:
    """The whole text: compact, in the order given. By the parts' variables."""
    return json.dumps(dict(texts), separators=(",", ":"))


def taken_apart(material: KeyMaterial, parts: Sequence[Part]) -> dict[str, KeyMaterial]:
    """Each part, by its `name`. MisconfiguredError, which quotes nothing, for a text that is not made of them alone."""
    found = json_object(material.reveal())
    if found.keys() == {each.variable for each in parts}:
        with suppress(ValueError, TypeError):
            return {each.name: KeyMaterial(found[each.variable]) for each in parts}
    form = joined({each.variable: "..." for each in parts})
    raise MisconfiguredError(
        f"a key of several parts is not the JSON object {form}, with a text for each and nothing else",
        remedy="write the key that is in use there in this form",
    )


def parameters(material: KeyMaterial, parts: Sequence[Part] = ()) -> dict[str, KeyMaterial]:
    """A key as LiteLLM takes it in a call. MisconfiguredError as `taken_apart`."""
    return taken_apart(material, parts) if parts else {"api_key": material}


def stranger(parts: Sequence[Part]) -> KeyMaterial:
    """A key in the form of one that nobody has."""
    return KeyMaterial(joined({each.variable: each.prefix + _random(each.length - len(each.prefix)) for each in parts}))


def _random(length: int) -> str:
    import base64  # which no start needs

    return base64.b32encode(os.urandom(length)).decode()[:length]
