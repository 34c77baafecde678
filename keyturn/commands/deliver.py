"""keyturn exec, keyturn env: bringing the current keys to a program."""

from __future__ import annotations

import asyncio
import json
import logging
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from keyturn.assembly import Adapters
from keyturn.commands.exits import Exit, leave, reported
from keyturn.commands.options import address, duration, reference
from keyturn.config import load
from keyturn.delivery import file_readers
from keyturn.delivery.exec import run_exec
from keyturn.delivery.key_files import KeyFiles
from keyturn.delivery.keys import Variable
from keyturn.delivery.supervisor import Supervisor
from keyturn.delivery.variables import names, own_secrets, variables
from keyturn.errors import MisconfiguredError
from keyturn.material import KeyMaterial
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
    env_files: Sequence[Path],
    render_timeout: str,
    keys_folder: Path | None,
    any_version: bool,
) -> None:
    """Supervise a proxy: start it with its keys in the environment, restart it gently when a key turns.

    `env_files`: where the keys are read in place of the store. `keys_folder`: where they are written for a proxy that reads
    them at each request, in place of its environment; `any_version` believes that it does.
    """
    hold_vendor_loggers()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s keyturn %(levelname)s %(message)s", stream=sys.stderr)
    with reported():
        reference("--token", token)
        if readiness is not None:
            address("--readiness", readiness)
        times = {
            name: duration(f"--{name.replace('_', '-')}", value)
            for name, value in (
                ("drain", drain),
                ("grace", grace),
                ("start_timeout", start_timeout),
                ("render_timeout", render_timeout),
            )
        }
        files = KeyFiles(keys_folder) if keys_folder is not None else None
        code = asyncio.run(_execute(proxy, command, control, token, health, readiness, times, env_files, files, any_version))
    raise SystemExit(code)


def environment(proxy: str, style: str, show: bool) -> None:
    """Print the current keys of a proxy, for a program that is started another way."""
    hold_vendor_loggers()
    with reported():
        if sys.stdout.isatty() and not show:
            raise MisconfiguredError("this prints keys, and the output is a terminal", remedy="redirect it, or add --show")
        values = asyncio.run(_values(proxy))
        text = _STYLES[style](values)
    sys.stdout.write(text)
    leave(Exit.DONE)


def _as_shell(values: Mapping[str, str]) -> str:
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _as_dotenv(values: Mapping[str, str]) -> str:
    """Bare or in single quotes: what shells, python-dotenv and Compose read alike. MisconfiguredError for the rest."""
    for name, value in values.items():
        if set(value) & set("'\\$"):
            raise MisconfiguredError(
                f"the key for {name} has a quote, a backslash or a dollar sign in it",
                remedy="use --format shell or --format json: readers of dotenv take these characters differently",
            )
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _as_json(values: Mapping[str, str]) -> str:
    return json.dumps(values) + "\n"


_STYLES = {"shell": _as_shell, "dotenv": _as_dotenv, "json": _as_json}


async def _execute(
    proxy: str,
    command: Sequence[str],
    control: str,
    token: str,
    health: str | None,
    readiness: str | None,
    times: Mapping[str, timedelta],
    env_files: Sequence[Path],
    files: KeyFiles | None,
    any_version: bool,
) -> int:
    adapters = Adapters(load())
    try:
        wanted = _rendered(adapters, proxy, env_files) if env_files else variables(adapters.config, proxy, adapters.store)
        url = readiness or _readiness(command)
        supervisor = Supervisor(
            command,
            wanted,
            url,
            drain=times["drain"],
            grace=times["grace"],
            start_timeout=times["start_timeout"],
            render_timeout=times["render_timeout"],
            files=files,
            inspect=_inspection(adapters, proxy, url) if files is not None and not any_version else None,
            strip={*own_secrets(adapters.config, proxy), token.removeprefix("env:")},
        )
        return await run_exec(supervisor, control=control, token=await adapters.resolve(token), health=health)
    finally:
        await adapters.aclose()


def _rendered(adapters: Adapters, proxy: str, paths: Sequence[Path]) -> list[Variable]:
    from keyturn.delivery.env_file import EnvFile

    return EnvFile(paths).variables(names(adapters.config, proxy))


def _inspection(adapters: Adapters, proxy: str, url: str) -> Callable[[], Awaitable[None]]:
    reference = getattr(adapters.config.proxies[proxy].settings, "master_key", None)
    if reference is None:
        raise MisconfiguredError(
            "LiteLLM tells its version to its master key alone, and these proxies have none in keyturn.yaml",
            remedy="add master_key, or --any-version where you know that it is 1.109.1 or later",
        )

    async def master_key() -> KeyMaterial:
        return await adapters.resolve(reference)

    return lambda: file_readers.require(url, master_key)


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
