"""Whether an adapter offers what a protocol asks for: isinstance, which finds it out once for each kind of adapter.

Python 3.11 looks through all parts of a protocol at each question. A rotation asks thirty of them, of one adapter or
another, and that took longer than most of its steps do.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

_Protocols: Any = type(Protocol)


class Kind(_Protocols):  # type: ignore[misc]  # which type that is, typing does not tell
    """The metaclass of a protocol that is asked for by isinstance. Its parts are what it and its bases have without an
    underscore."""

    def __instancecheck__(cls, adapter: object) -> bool:
        if not cls._is_protocol or hasattr(type(adapter), "__getattr__"):  # who hands on to another is asked each time
            return bool(super().__instancecheck__(adapter))
        kind: Any = type(adapter)
        missing = _missing(cls, kind)
        return not missing or missing <= getattr(adapter, "__dict__", {}).keys()


@cache
def _missing(protocol: type, kind: type) -> frozenset[str]:
    """What a class of adapters itself does not have of a protocol."""
    parts = {name for base in protocol.__mro__ for name in vars(base) if not name.startswith("_")}
    return frozenset(name for name in parts if getattr(kind, name, None) is None)
