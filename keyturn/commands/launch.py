"""keyturn exec without --control: read the current keys, and become the program."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from keyturn.assembly import Adapters
from keyturn.commands.exits import reported
from keyturn.commands.options import duration, reference
from keyturn.config import load
from keyturn.delivery.become import Loaded, become, end_when_told, find_program
from keyturn.delivery.caching import CacheOptions, key_cache
from keyturn.delivery.environment import inherited
from keyturn.delivery.keys import KeyReader
from keyturn.delivery.variables import own_secrets, refuse_leases, variables
from keyturn.errors import MisconfiguredError
from keyturn.quiet import hold_vendor_loggers

Caching = tuple[Path | None, str | None, str]  # --cache, --cache-key, --cache-max-age, as they were typed


def launch(proxy: str, command: Sequence[str], start_timeout: str, state: Path | None, caching: Caching) -> None:
    """Become the program, with its keys in the environment. Ends before that when they cannot be read."""
    end_when_told()
    hold_vendor_loggers()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s keyturn %(levelname)s %(message)s", stream=sys.stderr)
    with reported():
        program = find_program(command[0], os.environ.get("PATH"))
        if program is None:
            raise MisconfiguredError(
                "the program to start is not there", remedy="name it after --, with its path if it is not on $PATH"
            )
        if state is not None and not state.parent.is_dir():
            raise MisconfiguredError("the folder for --state is not there", remedy="make it")
        keys, own = asyncio.run(_read(proxy, duration("--start-timeout", start_timeout), cache_options(*caching)))
        failure = ""
        try:
            become(program, command, inherited(os.environ, own), keys, None if state is None else str(state))
        except OSError as error:
            failure = error.strerror or type(error).__name__
        raise MisconfiguredError(f"the file for --state cannot be written: {failure}", remedy="look at its folder")


def cache_options(file: Path | None, key: str | None, max_age: str) -> CacheOptions | None:
    """What --cache, --cache-key and --cache-max-age say. MisconfiguredError where they do not go together."""
    if file is None and key is None:
        return None
    if file is None or key is None:
        raise MisconfiguredError(
            "--cache and --cache-key go together",
            remedy="say where it is, and which secret it is encrypted with, such as env:KEYTURN_CACHE_KEY",
        )
    return CacheOptions(file, reference("--cache-key", key), duration("--cache-max-age", max_age))


async def _read(proxy: str, limit: timedelta, options: CacheOptions | None) -> tuple[list[Loaded], set[str]]:
    """The keys, and the names of the variables that the program is not given."""
    adapters = Adapters(load())
    try:
        refuse_leases(adapters.config, proxy)
        found = variables(adapters.config, proxy, adapters.store)
        cache = None if options is None else await key_cache(adapters, proxy, found, options)
        reader = KeyReader(found, asyncio.sleep, cache)
        held = await reader.first(limit, lambda words: logging.getLogger(__name__).warning("%s; trying again", words))
        own = own_secrets(adapters.config, proxy) | ({options.key.removeprefix("env:")} if options else set())
        keys = [(each, held[each.credential]) for each in found]
        return [Loaded(each.credential, each.names, key.version.id, key.material) for each, key in keys], own
    finally:
        await adapters.aclose()
