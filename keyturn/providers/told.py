"""Every kind of provider, as it is told to people: by `keyturn providers`, and in docs/providers.md."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from keyturn import durations
from keyturn.providers.facts import Facts, May, Permission, Shape
from keyturn.providers.verdicts import Row, Verdicts

SHAPES: Mapping[Shape, str] = {
    Shape.CREATE_DELETE: "a new key beside the old one, which is deleted after the overlap",
    Shape.TWO_SLOTS: "two keys that always exist: the idle one is made anew, and later the old one",
    Shape.IN_PLACE: "the key gets a new text; the old text lives until a deadline that is set ahead",
    Shape.POOL: "people make keys ahead in the vendor's console; a rotation takes the next one",
    Shape.LEASED: "a key is a lease, and ends by itself",
}


@dataclass(frozen=True, slots=True)
class Told:
    """One kind. `facts` is None for an adapter of a third party that tells none."""

    kind: str
    adapter: Any
    facts: Facts | None

    @property
    def promises(self) -> Mapping[str, str]:
        """What it can promise, in a word or two each; "no" where it cannot."""
        if self.facts is None:
            return {}
        f = self.facts
        overlap = {Shape.IN_PLACE: "until a deadline", Shape.LEASED: "until its end"}.get(f.shape, "yes")
        return {
            "overlap": overlap,
            "list": "yes" if f.lists else "no",
            "disable": "yes" if f.disables else "no",
            "last use": f.last_use or "no",
            "expiry": f.expiry or "no",
            "most keys": str(f.most_keys) if f.most_keys else "",
            "in place": f.in_place or "no",
        }

    @property
    def checked(self) -> str:
        """Which permissions of the management credential `doctor` learns of, in a word or two."""
        if self.facts is None or not self.facts.permissions:
            return "none is needed" if self.facts else ""
        tells = [each.may.value for each in self.facts.permissions if _tells_of(each, self.facts)]
        told = "all" if len(tells) == len(self.facts.permissions) else ", ".join(tells) or "none"
        return told + (", yes alone" if any(each.only_yes for each in self.facts.permissions) else "")

    @property
    def permissions(self) -> Sequence[tuple[str, str, str, str]]:
        """What keyturn does with keys, the least permission for that, how `doctor` learns of it, and how that is known."""
        facts = self.facts
        if facts is None:
            return []
        return [
            (each.may.value, ", ".join(each.needs), _checked_by(each, facts), each.known.value) for each in facts.permissions
        ]

    @property
    def known(self) -> str:
        """How the least certain of its facts is known."""
        return max((source.known for source in self.facts.sources), key=_doubt) if self.facts else "not told"

    @property
    def rows(self) -> Sequence[Row]:
        table: Verdicts | None = getattr(self.adapter, "VERDICTS", None)
        return table.rows if table is not None else ()

    @property
    def vendors(self) -> Mapping[str, Any]:
        """Where one kind is for several: what is known of each, by its name in the settings."""
        found: Mapping[str, Any] = getattr(self.adapter, "VENDORS", {})
        return found

    @property
    def settings(self) -> Sequence[tuple[str, str, str]]:
        """Name, type and default of each."""
        model: type[BaseModel] = self.adapter.Settings
        return [
            (name, _type(field.annotation, field.metadata), "required" if field.is_required() else _default(field))
            for name, field in model.model_fields.items()
        ]

    def facts_as_data(self) -> Mapping[str, Any]:
        if self.facts is None:
            return {"kind": self.kind, "facts": "the adapter tells none"}
        f = self.facts
        return {
            "kind": self.kind,
            "vendor": f.vendor,
            "shape": f.shape.value,
            "promises": dict(self.promises),
            "permission": f.login,
            "permissions": [
                {"may": may, "needs": needs, "checked_by": by, "known": known} for may, needs, by, known in self.permissions
            ],
            "variables": list(f.variables),
            "litellm": f.models,
            "risks": list(f.risks),
            "without_a_key": f.without_a_key,
            "sources": [{"where": s.where, "known": s.known.value, "what": s.what} for s in f.sources],
        }


def told(adapters: Mapping[str, Any]) -> Sequence[Told]:
    """`adapters`: kind -> class."""
    return [Told(kind, adapter, getattr(adapter, "FACTS", None)) for kind, adapter in sorted(adapters.items())]


def _tells_of(permission: Permission, facts: Facts) -> bool:
    """Whether `doctor` may learn of it."""
    return bool(permission.told_by) or (permission.may is May.LIST and facts.lists)


def _checked_by(permission: Permission, facts: Facts) -> str:
    if not _tells_of(permission, facts):
        return "no: the vendor has no call that tells and changes nothing"
    if permission.may is May.LIST and facts.lists:
        return "the list itself"
    return permission.told_by + (
        ", which can show that it is there, and not that it is missing" if permission.only_yes else ""
    )


def _doubt(known: str) -> int:
    return ("verified", "secondary", "recalled").index(known)


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A field's type, in the words of docs/configuration.md."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(each) for each in inner if each is not type(None)))
    if origin is typing.Annotated:
        return _type(inner[0], inner[1:])
    if origin is typing.Literal:
        return ", ".join(f"`{each}`" for each in inner)
    if origin in (tuple, list, set, frozenset):
        return f"list of {_type(inner[0])}"
    if origin in (dict, Mapping) or annotation is dict:
        return "mapping"
    validators = " ".join(getattr(getattr(each, "func", None), "__name__", "") for each in metadata)
    for mark, word in (("_must_be_a_reference", "reference"), ("_must_be_http", "address"), ("_must_be_absolute", "path")):
        if mark in validators:
            return word
    named = {date: "day", timedelta: "duration", bool: "yes or no", int: "number", float: "number", str: "text"}
    if annotation in named:
        return named[annotation]
    return "mapping" if isinstance(annotation, type) and issubclass(annotation, BaseModel) else "text"


def _default(field: Any) -> str:
    value = field.default if field.default is not PydanticUndefined else field.get_default(call_default_factory=True)
    if isinstance(value, timedelta):
        return f"`{durations.text(value)}`"
    if value is None or value == ():
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
