"""The variables of one process, wherever they are written: literal secrets, and names that shadow each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from keyturn.delivery.aliases import BEFORE, FAMILIES
from keyturn.lint.catalogue import EXAMPLE_MASTER_KEY, LITERAL_SECRET, NOBODY_WRITES, SHADOWED
from keyturn.lint.finding import Hit, Spot, hit
from keyturn.lint.providers import KEY_VARIABLES
from keyturn.lint.secret_values import EXAMPLE, holds_secret, is_written_out
from keyturn.lint.written import Written


@dataclass(frozen=True, slots=True)
class Variable:
    """`value`: what is written, with defaults in place of references; None: it comes from elsewhere."""

    name: str
    value: str | None
    spot: Spot
    raw: str = ""  # as it stands in the file: two that refer to the same are no trouble

    @property
    def is_set(self) -> bool:
        return self.value is None or bool(self.value) or bool(self.raw)


def literal_hits(variables: Sequence[Variable]) -> Iterator[Hit]:
    for each in variables:
        yield from secret_hit(each.name, each.value or "", each.spot, len(each.raw))


def secret_hit(name: str, value: str, spot: Spot, width: int = 0) -> Iterator[Hit]:
    """What is wrong with a value under a name, if that name holds a secret."""
    if value.strip() == EXAMPLE:
        yield hit(EXAMPLE_MASTER_KEY, spot, "this is the master key of LiteLLM's examples", width=width)
    elif holds_secret(name) and is_written_out(value):
        yield hit(LITERAL_SECRET, spot, "a secret is written out here (not printed)", width=width or len(value))


def shadow_hits(variables: Sequence[Variable]) -> Iterator[Hit]:
    there = {each.name: each for each in variables if each.is_set}
    for family in FAMILIES:
        both = [there[name] for name in family if name in there]
        others = [each.name for each in both[1:] if not both[0].raw or each.raw != both[0].raw]
        if others:
            first = both[0]
            yield hit(SHADOWED, first.spot, f"LiteLLM reads {first.name} before {' and '.join(others)}: both are set here")


def unwritten_hits(variables: Sequence[Variable], written: Written | None) -> Iterator[Hit]:
    """Providers' keys that reach a proxy past keyturn, or in front of what it delivers."""
    delivered = written.variables if written is not None else {}
    for each in variables:
        for name in (name for name, first in BEFORE.items() if name in delivered and each.name in first and each.is_set):
            told = f"LiteLLM reads {each.name} before {name}, which {delivered[name]} is delivered as"
            yield hit(SHADOWED, each.spot, told)
        if written is not None and each.name in KEY_VARIABLES and each.is_set and not written.delivers(each.name):
            yield hit(NOBODY_WRITES, each.spot, f"no credential of keyturn.yaml delivers {each.name}")
