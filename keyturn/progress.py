"""Who wants to hear a rotation's timeline while it happens, besides Prefect's log."""

from __future__ import annotations

from collections.abc import Callable

from keyturn.assembly import Line

listeners: list[Callable[[Line], None]] = []
"""Called in this process, in order, for each line. The command line adds its own; nothing here holds key text."""
