"""keyturn exec, keyturn env: bringing the current keys to a program."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

from keyturn.assembly import Adapters
from keyturn.commands.exits import Exit, leave, reported
from keyturn.commands.launch import Caching, cache_options
from keyturn.commands.options import address, duration, reference
from keyturn.commands.variable_formats import writer
from keyturn.config import load
from keyturn.delivery.caching import CacheOptions, key_cache
from keyturn.delivery.exec import run_exec
from keyturn.delivery.supervisor import Supervisor
from keyturn.delivery.variables import own_secrets, variables
from keyturn.errors import MisconfiguredError
from keyturn.quiet import hold_vendor_loggers


def execute(
    proxy: str,
    command: Sequence[str],
    control: str,
    token: str,
    health: str | None,
    readiness: str | None,
    drain: str,
    grace: str,
    start_timeout: str,
    caching: Caching,
) -> None:
    """Supervise a proxy: start it with its keys in the environment, restart it gently when a key turns."""
    hold_vendor_loggers()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s keyturn %(levelname)s %(message)s", stream=sys.stderr)
    with reported():
        reference("--token", token)
        if readiness is not None:
            address("--readiness", readiness)
        times = [duration(*each) for each in (("--drain", drain), ("--grace", grace), ("--start-timeout", start_timeout))]
        code = asyncio.run(_execute(proxy, command, control, token, health, readiness, cache_options(*caching), *times))
    raise SystemExit(code)


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


async def _execute(
    proxy: str,
    command: Sequence[str],
    control: str,
    token: str,
    health: str | None,
    readiness: str | None,
    caching: CacheOptions | None,
    drain: timedelta,
    grace: timedelta,
    start_timeout: timedelta,
) -> int:
    adapters = Adapters(load())
    try:
        found = variables(adapters.config, proxy, adapters.store)
        own = {token.removeprefix("env:")} | ({caching.key.removeprefix("env:")} if caching else set())
        supervisor = Supervisor(
            command,
            found,
            readiness or _readiness(command),
            drain=drain,
            grace=grace,
            start_timeout=start_timeout,
            strip={*own_secrets(adapters.config, proxy), *own},
            cache=None if caching is None else await key_cache(adapters, proxy, found, caching),
        )
        return await run_exec(supervisor, control=control, token=await adapters.resolve(token), health=health)
    finally:
        await adapters.aclose()


async def _values(proxy: str) -> dict[str, str]:
    adapters = Adapters(load())
    try:
        found = variables(adapters.config, proxy, adapters.store)
        held = await asyncio.gather(*(variable.read() for variable in found))
        return {variable.name: key.material.reveal() for variable, key in zip(found, held, strict=True)}
    finally:
        await adapters.aclose()


def _readiness(command: Sequence[str]) -> str:
    """LiteLLM's readiness address, from its own --port and --host."""
    words = [part for word in command for part in (word.split("=", 1) if word.startswith("--") else [word])]
    options = dict(pairwise(words))
    host, port = options.get("--host", "127.0.0.1"), options.get("--port", "4000")
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/health/readiness"  # noqa: S104  # only compared
