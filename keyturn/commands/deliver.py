"""keyturn env: the current keys, printed for another launcher."""

from __future__ import annotations

import asyncio
import sys

from keyturn.assembly import Adapters
from keyturn.commands.exits import Exit, leave, reported
from keyturn.commands.variable_formats import writer
from keyturn.config import load
from keyturn.delivery.variables import refuse_leases, variables
from keyturn.errors import MisconfiguredError
from keyturn.quiet import hold_vendor_loggers


def environment(proxy: str, style: str, name: str | None, show: bool) -> None:
    """Print the current keys of a proxy, for a program that is started another way."""
    hold_vendor_loggers()
    with reported():
        if sys.stdout.isatty() and not show:
            raise MisconfiguredError("this prints keys, and the output is a terminal", remedy="redirect it, or add --show")
        write = writer(style, name)
        text = write(asyncio.run(_values(proxy)))
    sys.stdout.write(text)
    leave(Exit.DONE)


async def _values(proxy: str) -> dict[str, str]:
    adapters = Adapters(load())
    try:
        refuse_leases(adapters.config, proxy)
        found = variables(adapters.config, proxy, adapters.store)
        held = await asyncio.gather(*(variable.read() for variable in found))
        given = [variable.names.given(key.material) for variable, key in zip(found, held, strict=True)]
        return {name: material.reveal() for each in given for name, material in each.items()}
    finally:
        await adapters.aclose()
