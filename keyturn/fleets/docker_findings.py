"""What is looked at before a container is rolled. Nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from keyturn.delivery.environment import shadowed
from keyturn.durations import text
from keyturn.errors import KeyturnError
from keyturn.fleets.docker_container import Container
from keyturn.fleets.docker_copy import may_run_beside
from keyturn.fleets.docker_members import Members, Pair
from keyturn.model import Finding

_ENGINES_OWN = 10  # seconds: what a container is given to end where nothing else is said


async def examine(members: Members, credential: str) -> Sequence[Finding]:
    """The engine, and each member."""
    settings = members.settings
    try:
        version = await members.engine.version()
        pairs = await members.pairs()
    except KeyturnError as error:
        return [Finding("engine", False, error.message, error.remedy)]
    findings = [Finding("engine", True, f"{settings.engine} answers, API {version}")]
    if not pairs:
        words = f"no container has the labels {', '.join(settings.selector)}"
        return [*findings, Finding("members", False, words, "start them, or correct project and service, or labels")]
    for found in await asyncio.gather(*(_member(members, pair, credential) for pair in pairs)):
        findings += found
    if len(pairs) == 1 and not _stays_up(members, pairs[0]):
        alone = "there is only one: requests are lost while it is rolled"
        findings.append(Finding("members", None, alone, "add a second member"))
    return findings


def _stays_up(members: Members, pair: Pair) -> bool:
    one = pair.serves
    return members.state is None and members.settings.surge and one is not None and may_run_beside(one)


async def _member(members: Members, pair: Pair, credential: str) -> list[Finding]:
    one = pair.serves
    if one is None:
        return [Finding(f"{pair.name}: container", None, "it was removed while it was looked at", "run again")]
    state = str(one.state.get("Status") or "not running")
    findings = [
        Finding(f"{pair.name}: container", one.runs, f"it is {state}", "start it, or remove it: then it is no member"),
        *_as_it_is_made(members, pair.name, one),
    ]
    if pair.new is not None:
        findings.append(Finding(f"{pair.name}: roll", None, "a roll stands half-way", "the next roll goes on with it"))
    if not one.runs:
        return findings
    answers = await members.readiness(one)
    where = members.url(one) or "no address"
    findings.append(
        Finding(
            f"{pair.name}: proxy",
            answers == "200" and one.health != "unhealthy",
            f"{where}: readiness answers {answers}" + (f", its health check says {one.health}" if one.health else ""),
            "can keyturn reach the container's network? Are port, network and address right?",
        )
    )
    key = (
        await _restarted(members, pair.name, one, credential)
        if members.state
        else _made(members, pair.name, one, credential)
    )
    return [*findings, *key]


def _as_it_is_made(members: Members, name: str, one: Container) -> list[Finding]:
    """What of the container's configuration loses requests, or the container."""
    found = []
    host, given = one.host_config, one.config.get("StopTimeout")
    if host.get("AutoRemove") is True:
        found.append(
            Finding(f"{name}: --rm", False, "the engine removes it when it stops", "start it without --rm (auto-remove)")
        )
    if one.network_mode.startswith("container:") and members.state is None:
        words = "it lives in the network of another container"
        found.append(Finding(f"{name}: network", None, words, "its successor joins that one too, after it has stopped"))
    policy = host.get("RestartPolicy")
    if not isinstance(policy, dict) or policy.get("Name") in (None, "", "no"):
        words = "it has no restart policy: one that ends stays down"
        found.append(Finding(f"{name}: restart policy", None, words, "give it restart: unless-stopped"))
    if not isinstance(one.config.get("Healthcheck"), dict) or one.config["Healthcheck"].get("Test") in (None, [], ["NONE"]):
        words = "it has no health check: what is before it must ask /health/readiness itself"
        found.append(Finding(f"{name}: health check", None, words, "give it one, or see that the balancer asks"))
    seconds = given if isinstance(given, int) else _ENGINES_OWN
    if seconds < members.grace:
        words = f"whoever else stops it gives it {seconds} s, and a stream may last {text(members.settings.stop_timeout)}"
        found.append(Finding(f"{name}: stop timeout", None, words, f"stop_grace_period: {members.grace}s (--stop-timeout)"))
    return found


async def _restarted(members: Members, name: str, one: Container, credential: str) -> list[Finding]:
    state = members.state
    if state is None:
        return []
    launcher = f"start it by `keyturn exec --state {state.path} -- PROGRAM`, with this keyturn.yaml"
    if mount := state.unseen(one):
        words = f"{state.path} is in {mount}, which is mounted: only the container's own files are believed"
        return [Finding(f"{name}: state", False, words, "let --state name a file outside of volumes and tmpfs")]
    if one.host_config.get("ReadonlyRootfs") is True:
        words = "its files are read-only: nothing tells which keys it read"
        return [
            Finding(f"{name}: state", False, words, "leave read_only out, or use `keyturn exec --control` and kind: process")
        ]
    loaded = await state.loaded(one)
    there = loaded is not None and credential in loaded
    return [
        Finding(f"{name}: state", loaded is not None, f"{state.path} {'is' if loaded else 'is not'} of this run", launcher),
        Finding(f"{name}: credential", there, f"it {'has' if there else 'does not have'} {credential}", launcher),
    ]


def _made(members: Members, name: str, one: Container, credential: str) -> list[Finding]:
    names, environment = members.keys(credential).names, one.environment()
    missing = [each for each in names.variables if not environment.get(each)]
    others = shadowed(environment, names.variables)
    return [
        Finding(
            f"{name}: credential",
            not missing,
            f"its environment has no {', '.join(missing)}"
            if missing
            else f"{', '.join(names.variables)} in its environment",
            "say with the credential's `env` under which name the container has it, or use roll: restart",
        ),
        Finding(
            f"{name}: shadowing variables",
            not others,
            f"set beside ours, to another value: {', '.join(others)}" if others else "none",
            "take them out of the container's environment: LiteLLM may read them instead",
        ),
    ]
