"""The same container once more, with another key in its environment: what an engine is told to create.

What `GET /containers/ID/json` gives back is what `POST /containers/create` takes (Config at the top, HostConfig,
NetworkingConfig), but for a few things that belong to the one container: they are left out, or written anew, here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.delivery.variable_names import Names
from keyturn.fleets.docker_container import CREDENTIAL, MEMBER, REPLACES, VALUE, WRITTEN, Container, written
from keyturn.json_object import inside, text
from keyturn.material import KeyMaterial

_NO_NETWORK_OF_ITS_OWN = ("host", "none", "container:")
_DEFAULT_NETWORKS = ("default", "bridge", "podman")  # they take no aliases


def replacement(
    old: Container, image: str, credential: str, names: Names, version: str, given: Mapping[str, KeyMaterial]
) -> dict[str, Any]:
    """The body of the create. `version`: the fingerprint of the key, `given`: what its variables become.

    Every variable of the old container stays, and is replaced where it stands. `image`: a name or an id that stands for the
    very image that the old one was made from.
    """
    texts = {name: material.reveal() for name, material in given.items()}
    environment = {**old.environment(), **texts}
    labels = {
        **old.labels,
        MEMBER: old.name,
        CREDENTIAL: credential,
        REPLACES: old.id,
        VALUE + credential: version,
        WRITTEN + credential: written(environment, names) or "",
    }
    body = {
        **old.config,
        "Image": image,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": labels,
        "HostConfig": _host_config(old),
    }
    if str(body.get("Hostname") or "") == old.short_id or old.network_mode.startswith(_NO_NETWORK_OF_ITS_OWN):
        body.pop("Hostname", None)  # made from the id, or not the container's own
    first = _first_network(old)
    if first:
        body["NetworkingConfig"] = {"EndpointsConfig": {first: endpoint(old, first)}}
    return body


def further_networks(old: Container) -> tuple[str, ...]:
    """Those that its successor is connected to before it is started: up to API 1.43 a create takes one alone."""
    first = _first_network(old)
    return tuple(name for name in sorted(old.networks) if name != first) if first else ()


def endpoint(old: Container, network: str) -> dict[str, Any]:
    """What its place in a network is configured with. Not the address that it was given, but one that it asked for."""
    there = old.networks.get(network) or {}
    kept = {name: there[name] for name in ("IPAMConfig", "Links", "DriverOpts") if there.get(name)}
    if network not in _DEFAULT_NETWORKS:
        aliases = [each for each in there.get("Aliases") or [] if each != old.short_id]
        kept |= {"Aliases": aliases} if aliases else {}
    if mac := old.config.get("MacAddress"):
        kept["MacAddress"] = mac
    return kept


def may_run_beside(old: Container) -> bool:
    """Whether its successor can be started while it runs: nothing of it is a thing that only one can have."""
    bindings = old.host_config.get("PortBindings") or {}
    fixed = [each for ports in bindings.values() for each in ports or [] if inside(each, "HostPort") not in (None, "", "0")]
    addresses = [
        each
        for network in old.networks.values()
        for each in (inside(network, "IPAMConfig", "IPv4Address"), inside(network, "IPAMConfig", "IPv6Address"))
        if each
    ]
    shares = old.network_mode == "host" or old.network_mode.startswith("container:")
    return not (fixed or addresses or shares or old.config.get("MacAddress"))


def _host_config(old: Container) -> dict[str, Any]:
    """Its own, and the volumes without a name that it was given: they would be empty ones otherwise."""
    found = dict(old.host_config)
    binds = list(found.get("Binds") or [])
    named = {str(each).split(":")[1] for each in binds if ":" in str(each)}
    named |= {str(inside(each, "Target")) for each in found.get("Mounts") or []}
    for each in old.document.get("Mounts") or []:
        there = inside(each, "Destination")
        if inside(each, "Type") == "volume" and there not in named and inside(each, "Name"):
            binds.append(f"{text(inside(each, 'Name'))}:{text(there)}" + ("" if inside(each, "RW") is not False else ":ro"))
    if binds:
        found["Binds"] = binds
    if links := found.get("Links"):  # told as /OTHER:/OWN/ALIAS, taken as OTHER:ALIAS
        found["Links"] = [_link(str(each)) for each in links]
    return found


def _link(told: str) -> str:
    other, _, own = told.partition(":")
    return f"{other.removeprefix('/')}:{own.rpartition('/')[2]}"


def _first_network(old: Container) -> str:
    """Which of its networks is named in the create; "": it has none of its own."""
    mode = old.network_mode
    if mode.startswith(_NO_NETWORK_OF_ITS_OWN):
        return ""
    if mode in old.networks:
        return mode
    ids = {str(inside(each, "NetworkID")): name for name, each in old.networks.items()}
    return ids.get(mode) or next(iter(sorted(old.networks)), "")
