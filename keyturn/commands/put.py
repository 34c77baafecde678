"""keyturn put: the key that is in use today, into the stores."""

from __future__ import annotations

import asyncio
import getpass
import sys
from dataclasses import asdict
from typing import Any

from rich.markup import escape

from keyturn.assembly import Line, assemble
from keyturn.commands.exits import Exit, console, leave, print_data, reported
from keyturn.config import Config, load
from keyturn.material import KeyMaterial
from keyturn.quiet import hold_vendor_loggers
from keyturn.steps.put import from_text
from keyturn.steps.put import put as put_everywhere

_LARGEST = 65536  # characters


def put(name: str, as_json: bool) -> None:
    """Create each secret of a credential that is missing. The key is read from standard input, or asked for unseen."""
    hold_vendor_loggers()
    lines: list[Line] = []
    with reported(as_json, lines):
        config = load()
        config.credential(name)
        asyncio.run(_put(config, name, lines))
    if as_json:
        print_data({"credential": name, "timeline": [asdict(line) for line in lines]})
    else:
        for line in lines:
            console.print(escape(line.sentence))
    leave(Exit.DONE)


async def _put(config: Config, name: str, lines: list[Any]) -> None:
    async with assemble(config, name, listener=lines.append) as c:
        await put_everywhere(c, _given)


def _given() -> KeyMaterial:
    text = getpass.getpass("the key in use today: ") if sys.stdin.isatty() else sys.stdin.read(_LARGEST + 1)
    return from_text(text)
