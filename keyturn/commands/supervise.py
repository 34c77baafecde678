"""keyturn exec with --control: a supervisor of the program, that rolls it when a key turns."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from keyturn.assembly import Adapters
from keyturn.commands.exits import reported
from keyturn.commands.launch import Caching, cache_options
from keyturn.commands.options import address, duration, reference
from keyturn.config import load
from keyturn.delivery import file_readers
from keyturn.delivery.caching import CacheOptions, key_cache
from keyturn.delivery.exec import run_exec
from keyturn.delivery.key_files import KeyFiles
from keyturn.delivery.keys import Variable
from keyturn.delivery.own_proof import OwnProof
from keyturn.delivery.supervisor import Supervisor
from keyturn.delivery.token_keeper import Renewal
from keyturn.delivery.turns import Look, Seen, Turn
from keyturn.delivery.variables import all_variables, leases, names, own_secrets
from keyturn.errors import KeyturnError, MisconfiguredError
from keyturn.fleets.process import ProcessFleet
from keyturn.fleets.supervisor_answers import SERVING
from keyturn.material import KeyMaterial
from keyturn.model import Member
from keyturn.quiet import hold_vendor_loggers

_LONGEST_WITH_FILES = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Typed:
    """The options as they were typed.

    `env_files`: where the keys are read in place of the store. `keys_folder`: where they are written for a proxy that reads
    them at each request, in place of its environment; `any_version` believes that it does. `prove_timeout`,
    `prove_at_start`: how a new key is tried in the program before anybody is sent to it.
    """

    proxy: str
    command: Sequence[str]
    control: str
    token: str
    health: str | None
    readiness: str | None
    drain: str
    grace: str
    start_timeout: str
    caching: Caching
    env_files: Sequence[Path]
    render_timeout: str
    keys_folder: Path | None
    any_version: bool
    prove_timeout: str
    prove_at_start: bool


@dataclass(frozen=True, slots=True)
class _Times:
    drain: timedelta
    grace: timedelta
    start: timedelta
    render: timedelta
    prove: timedelta


def supervise(typed: Typed) -> None:
    """Start a proxy with its keys, and restart it gently, or rewrite its key files, when a key turns."""
    hold_vendor_loggers()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s keyturn %(levelname)s %(message)s", stream=sys.stderr)
    with reported():
        reference("--token", typed.token)
        if typed.readiness is not None:
            address("--readiness", typed.readiness)
        times = _Times(
            duration("--drain", typed.drain),
            duration("--grace", typed.grace),
            duration("--start-timeout", typed.start_timeout),
            duration("--render-timeout", typed.render_timeout),
            duration("--prove-timeout", typed.prove_timeout),
        )
        caching = cache_options(*typed.caching)
        if caching is not None and typed.env_files:
            raise MisconfiguredError("--cache is for keys of a store, and --env-file names none", remedy="leave one out")
        code = asyncio.run(_supervise(typed, times, caching))
    raise SystemExit(code)


async def _supervise(typed: Typed, times: _Times, caching: CacheOptions | None) -> int:
    adapters = Adapters(load())
    try:
        return await run_exec(
            await _supervisor(typed, times, caching, adapters),
            control=typed.control,
            token=await adapters.resolve(typed.token),
            health=typed.health,
        )
    finally:
        await adapters.aclose()


async def _supervisor(typed: Typed, times: _Times, caching: CacheOptions | None, adapters: Adapters) -> Supervisor:
    config, proxy = adapters.config, typed.proxy
    if typed.env_files:
        wanted = [*_rendered(adapters, proxy, typed.env_files), *leases(config, proxy, adapters.lease)]
    else:
        wanted = all_variables(config, proxy, adapters.store, adapters.lease)
    url = typed.readiness or _readiness(typed.command)
    files = None if typed.keys_folder is None else KeyFiles(typed.keys_folder)
    own = {typed.token, *([caching.key] if caching else [])}
    return Supervisor(
        typed.command,
        wanted,
        url,
        drain=times.drain,
        grace=times.grace,
        start_timeout=times.start,
        render_timeout=times.render,
        files=files,
        inspect=_inspection(adapters, proxy, url) if files is not None and not typed.any_version else None,
        strip={*own_secrets(config, proxy), *(each.removeprefix("env:") for each in own)},
        cache=None if caching is None else await key_cache(adapters, proxy, wanted, caching),
        proof=_proof(typed, times, adapters, url),
        renewal=Renewal(await _turn(adapters, proxy, typed.control)),
    )


async def _turn(adapters: Adapters, proxy: str, control: str) -> Turn:
    """Among the other members of these proxies. None of them is looked at before there is a token to restart for."""
    fleet = adapters.fleet(proxy)
    if not isinstance(fleet, ProcessFleet):
        return Turn()

    def look(member: Member) -> Look:
        async def seen() -> Seen | None:
            try:
                status = await fleet.look(member)
            except KeyturnError:
                return None
            return Seen(status.member, status.state == SERVING, status.wants_its_turn)

        return seen

    members = list(await fleet.members())
    place = next((n for n, each in enumerate(members) if each.control == control.rstrip("/")), len(members))
    return Turn(place, {n: look(each) for n, each in enumerate(members) if n != place})


def _proof(typed: Typed, times: _Times, adapters: Adapters, url: str) -> OwnProof:
    """Of the keys that this program is given. Who has no master key here, or no canary, goes on without."""
    config, proxy = adapters.config, typed.proxy
    reference = getattr(config.proxies[proxy].settings, "master_key", None)
    canaries = {name: each.canary for name, each in config.credentials.items() if proxy in each.proxies}
    base, _, rest = url.partition("/health/")
    without = ""
    if not times.prove:
        without = "--prove-timeout is 0s"
    elif reference is None:
        without = "these proxies have no master_key in keyturn.yaml"
    elif not rest:
        without = "the address of the program is not known: --readiness names another path than /health/readiness"

    if without and typed.prove_at_start:
        raise MisconfiguredError(f"--prove-at-start cannot prove anything: {without}", remedy="mend that, or leave it out")

    async def master_key() -> KeyMaterial:
        return await adapters.resolve(str(reference))

    # With key files whoever asked for the roll waits for its proof.
    limit = times.prove if typed.keys_folder is None else min(times.prove, _LONGEST_WITH_FILES)
    return OwnProof(canaries, base, master_key, limit=limit, at_start=typed.prove_at_start, without=without)


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


def _readiness(command: Sequence[str]) -> str:
    """LiteLLM's readiness address, from its own --port and --host."""
    words = [part for word in command for part in (word.split("=", 1) if word.startswith("--") else [word])]
    options = dict(pairwise(words))
    host, port = options.get("--host", "127.0.0.1"), options.get("--port", "4000")
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/health/readiness"  # noqa: S104  # only compared
