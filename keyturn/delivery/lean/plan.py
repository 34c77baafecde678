"""What a plain keyturn.yaml says about one proxy: which values are read, from where, and what the program is not given.

The whole file has to be plain, also what a start has no use for: the full path refuses a file with a fault anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from keyturn.delivery.lean.declined import Declined
from keyturn.delivery.lean.kinds import known
from keyturn.delivery.lean.plain import Settings, duration, fit, items, seconds, section, text, zone
from keyturn.delivery.variable_names import Names, env_fault, names_of

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_SECTIONS = ("providers", "stores", "proxies")
_DAY = 86400
_MOST = 16  # values: the full path asks for many at once, this one for one after the other

_VARIABLE = text(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = {"store": text()}
_PATH = text(r"[A-Za-z0-9_./+=@:!-]{1,300}")
_CANARY = {"deployment": text(), "propagation": duration(), "timeout": duration()}
_REQUIRED = {
    "provider": text(),
    "secrets": lambda value: bool(items(value)),
    "canary": lambda value: bool(fit(value, {"proxy": text(), "model": text()}, _CANARY)),
    "proxies": lambda value: all(map(text(), items(value))),
}
_OPTIONAL = {
    "env": lambda value: all(map(_VARIABLE, _named(value) if isinstance(value, dict) else [value])),
    "schedule": text(),
    "timezone": zone,
    "max_age": duration(),
    "overlap": duration(),
    "key_lifetime": duration(),
    "on_incident": text(r"prove_first|revoke_first"),
}


class Secret(NamedTuple):
    """Where a value is. `field`: of a bundle."""

    store: str
    path: str
    field: str | None


class Read(NamedTuple):
    """A value that the program is given."""

    credential: str
    names: Names
    secret: Secret


class Plan(NamedTuple):
    """`stores`: kind and settings of those that are read. `own`: variables that the program is not given."""

    reads: list[Read]
    stores: Mapping[str, tuple[str, Settings]]
    own: set[str]


def plan_of(document: Mapping[str, Any], proxy: str) -> Plan:
    """Declined for a file that is not plain, and for a proxy that is given nothing."""
    if not {*_SECTIONS, "credentials"} == document.keys():
        raise Declined
    parts = {name: section(document[name], _NAME) for name in _SECTIONS}
    found = {name: {each: known(name, parts[name][each]) for each in parts[name]} for name in _SECTIONS}
    credentials = section(document["credentials"], _NAME)
    secrets = {name: _credential(each, parts) for name, each in credentials.items()}
    _nobody_shares([each for listed in secrets.values() for each in listed])
    reads: list[Read] = []
    for name, credential in credentials.items():
        kind, _ = found["providers"][credential["provider"]]
        if env_fault(credential.get("env"), kind):
            raise Declined
        if proxy in credential["proxies"]:
            names = names_of(credential.get("env"), secrets[name][0].field, kind)
            if names is None:
                raise Declined
            reads.append(Read(name, names, secrets[name][0]))
    variables = [variable for read in reads for variable in read.names.variables]
    if len(set(variables)) < len(variables):
        raise Declined
    if proxy not in parts["proxies"] or not 0 < len(reads) <= _MOST:
        raise Declined
    stores = {read.secret.store: found["stores"][read.secret.store] for read in reads}
    return Plan(reads, stores, _own(parts, found["proxies"][proxy][1]))


def _named(value: dict[str, Any]) -> list[Any]:
    """The names of a key's parts."""
    return list(value.values()) or [None]


def _credential(settings: Any, parts: Mapping[str, Mapping[str, Any]]) -> list[Secret]:
    """Its secrets, once all of it is known to be plain."""
    fit(settings, _REQUIRED, _OPTIONAL)
    if settings["provider"] not in parts["providers"]:
        raise Declined
    if not {settings["canary"]["proxy"], *settings["proxies"]} <= parts["proxies"].keys():
        raise Declined
    _times_fit(settings)
    return [_secret(each, parts["stores"]) for each in settings["secrets"]]


def _secret(settings: Any, stores: Mapping[str, Any]) -> Secret:
    name = "name" if isinstance(settings, dict) and "name" in settings else "path"
    fit(settings, {**_SECRET, name: _PATH}, {"field": text(r"[A-Za-z0-9_.-]{1,200}")})
    if settings["store"] not in stores:
        raise Declined
    return Secret(settings["store"], settings[name], settings.get("field"))


def _times_fit(settings: Settings) -> None:
    """As `keyturn.settings.CredentialSettings` has it."""
    interval = None
    if "schedule" in settings:
        interval = _shortest_gap(settings["schedule"])
    if "max_age" in settings:
        if interval is not None:
            raise Declined
        interval = seconds(settings["max_age"])
    overlap = seconds(settings["overlap"]) if "overlap" in settings else _DAY
    if interval is not None and overlap >= interval:
        raise Declined
    if "key_lifetime" in settings and interval is not None and seconds(settings["key_lifetime"]) < 2 * interval + overlap:
        raise Declined


def _shortest_gap(line: str) -> float:
    from keyturn.cron import shortest_gap

    with suppress(ValueError):
        return shortest_gap(line).total_seconds()
    raise Declined


def _nobody_shares(secrets: list[Secret]) -> None:
    """Two credentials that write one value, or a field and the whole of one secret, are a fault."""
    fields: dict[tuple[str, str], list[str | None]] = {}
    for secret in secrets:
        fields.setdefault((secret.store, secret.path), []).append(secret.field)
    if any(len(found) > 1 and (None in found or len(set(found)) < len(found)) for found in fields.values()):
        raise Declined


def _own(parts: Mapping[str, Any], proxy: Settings) -> set[str]:
    found = set(_environment_references(parts)) - {proxy["master_key"]}
    return {reference.removeprefix("env:") for reference in found}


def _environment_references(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("env:"):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _environment_references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _environment_references(inner)
