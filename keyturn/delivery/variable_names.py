"""Under which names LiteLLM reads a key. Imports next to nothing, for the lean start (keyturn.delivery.lean) uses it too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from keyturn.key_parts import AWS_ACCESS_KEY, Part, taken_apart
from keyturn.material import KeyMaterial

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
# Of which parts the text of a key is made, for kinds whose keys are more than one text.
PARTS_BY_PROVIDER_KIND: Mapping[str, tuple[Part, ...]] = {"aws_access_key": AWS_ACCESS_KEY}

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")

Env = str | Mapping[str, str] | None
"""`env` of a credential: a variable; for a key of several parts a variable for each, by the part's name; None: the usual."""


class Names(NamedTuple):
    """As which variables a program is given a key.

    `key`: the name of the key as a whole, which is its variable; of a key of several parts, whose variables are in `parts`,
    the names of these, joined by _AND_: so it is called in a rendered file, and on a key ring.
    """

    key: str
    parts: tuple[tuple[Part, str], ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(variable for _, variable in self.parts) or (self.key,)

    def given(self, material: KeyMaterial) -> dict[str, KeyMaterial]:
        """What each variable is. MisconfiguredError as `keyturn.key_parts.taken_apart`."""
        if not self.parts:
            return {self.key: material}
        found = taken_apart(material, [part for part, _ in self.parts])
        return {variable: found[part.name] for part, variable in self.parts}


def names_of(env: Env, field: str | None, provider_kind: str) -> Names | None:
    """`env` of the credential; else the secret's field, if it looks like a variable; else the provider's usual name.

    Of a key of several parts each: `env`, else the usual name. None where no name is known, or `env_fault` finds one.
    """
    parts = PARTS_BY_PROVIDER_KIND.get(provider_kind, ())
    if env_fault(env, provider_kind):
        return None
    if parts:
        chosen = env if isinstance(env, Mapping) else {}
        named = tuple((part, chosen.get(part.name, part.variable)) for part in parts)
        return Names("_AND_".join(variable for _, variable in named), named)
    found = env or (field if field and _VARIABLE.fullmatch(field) else BY_PROVIDER_KIND.get(provider_kind))
    return Names(found) if isinstance(found, str) else None


def env_fault(env: Env, provider_kind: str) -> str:
    """What is wrong with a credential's `env` for keys of this kind; "" for nothing."""
    parts = PARTS_BY_PROVIDER_KIND.get(provider_kind, ())
    if env is None or (isinstance(env, str) and not parts):
        return ""
    if not parts:
        return "keys of this provider are one text: give one name, `env: NAME`"
    if isinstance(env, str):
        form = ", ".join(f"{each.name}: NAME" for each in parts)
        return f"a key of this provider has several parts: give each a name, `env: {{{form}}}`"
    if not env.keys() <= {each.name for each in parts}:
        return f"names a part that keys of this provider do not have; there are: {', '.join(each.name for each in parts)}"
    if len({env.get(each.name, each.variable) for each in parts}) < len(parts):
        return "gives two parts of the key the same name"
    return ""
