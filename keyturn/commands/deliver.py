"""keyturn exec, keyturn env: bringing the current keys to a program."""

from __future__ import annotations

import asyncio
import json
import logging
import shlex
import sys
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

from keyturn.assembly import Adapters
from keyturn.commands.exits import Exit, leave, reported
from keyturn.config import load
from keyturn.delivery.exec import run_exec
from keyturn.delivery.supervisor import Supervisor
from keyturn.delivery.variables import own_secrets, variables
from keyturn.durations import parse
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
) -> None:
    """Supervise a proxy: start it with its keys in the environment, restart it gently when a key turns."""
    hold_vendor_loggers()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s keyturn %(levelname)s %(message)s", stream=sys.stderr)
    with reported():
        times = [
            _duration(name, text) for name, text in (("drain", drain), ("grace", grace), ("start-timeout", start_timeout))
        ]
        code = asyncio.run(_execute(proxy, command, control, token, health, readiness, *times))
    raise SystemExit(code)


def environment(proxy: str, style: str, show: bool) -> None:
    """Print the current keys of a proxy, for a program that is started another way."""
    hold_vendor_loggers()
    with reported():
        if sys.stdout.isatty() and not show:
            raise MisconfiguredError("this prints keys, and the output is a terminal", remedy="redirect it, or add --show")
        values = asyncio.run(_values(proxy))
    if style == "json":
        sys.stdout.write(json.dumps(values) + "\n")
    else:
        lead = "export " if style == "shell" else ""
        sys.stdout.writelines(f"{lead}{name}={shlex.quote(value)}\n" for name, value in values.items())
    leave(Exit.DONE)


async def _execute(
    proxy: str,
    command: Sequence[str],
    control: str,
    token: str,
    health: str | None,
    readiness: str | None,
    drain: timedelta,
    grace: timedelta,
    start_timeout: timedelta,
) -> int:
    adapters = Adapters(load())
    try:
        supervisor = Supervisor(
            command,
            variables(adapters.config, proxy, adapters.store),
            readiness or _readiness(command),
            drain=drain,
            grace=grace,
            start_timeout=start_timeout,
            strip={*own_secrets(adapters.config, proxy), token.removeprefix("env:")},
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
    options = dict(pairwise(command))
    host, port = options.get("--host", "127.0.0.1"), options.get("--port", "4000")
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/health/readiness"  # noqa: S104  # only compared


def _duration(name: str, text: str) -> timedelta:
    try:
        return parse(text)
    except ValueError as error:
        raise MisconfiguredError(f"--{name} {error}") from None
