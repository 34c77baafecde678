"""What the command line says of wrong usage, without what was typed at the wrong place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperGroup

_LONG_WORD = re.compile(r"[A-Za-z0-9_.+/=~-]{16,}")  # longer than any name of ours


class Discreet(TyperGroup):
    """Usage errors quote what was typed. What could be a key, pasted at the wrong place, is masked."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _masked():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _masked():
            return super().invoke(ctx)


@contextmanager
def _masked() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):
            error.message = _LONG_WORD.sub("***", message)  # type: ignore[attr-defined]  # typer's own, whichever its class
        raise
