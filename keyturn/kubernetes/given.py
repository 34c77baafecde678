"""How a pod's containers are given a variable: from which key of which Secret, or by reading a store when they start. Pure.

After the API reference of core/v1 (Container, `env` and `envFrom`): an entry of `env` goes before all of `envFrom`, and of
two of one name the later one counts, in either list. What `optional` names may be missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from keyturn.json_object import inside

Object = Mapping[str, Any]

_INJECTED = "vault.hashicorp.com/agent-inject"  # "Vault Agent Injector annotations"
_CSI = "secrets-store.csi.k8s.io"
_SECRET, _CONFIG_MAP = "Secret", "ConfigMap"


@dataclass(frozen=True, slots=True)
class Place:
    """A key of a Secret or of a ConfigMap. `must_be`: without it the container does not start."""

    kind: str
    name: str
    key: str
    must_be: bool

    @property
    def resource(self) -> str:
        return f"{self.kind.lower()}s"

    def __str__(self) -> str:
        return f"the {self.kind} {self.name}, key {self.key}"


@dataclass(frozen=True, slots=True)
class Given:
    """One variable of one container. `places`: the first of them that is there is what it gets. `fault`: it gets something
    else."""

    container: str
    variable: str
    places: tuple[Place, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Reads:
    """`given`: the containers that are given all of the variables. `at_start`: why no Secret has to be waited for; "": it
    does. `faults`: what is wrong, in words."""

    given: tuple[tuple[Given, ...], ...] = ()
    at_start: str = ""
    faults: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(dict.fromkeys(place for each in self.given for one in each for place in one.places))


def reads_of(pod: Object, variables: Sequence[str], container: str | None = None, *, at_start: bool = False) -> Reads:
    """`pod`: a pod, or a pod template. `container`: the one that is meant, None: all of them. `at_start`: whoever runs it
    says that it reads its store when it starts."""
    if at_start:
        return Reads(at_start="keyturn.yaml says that it reads its store when it starts")
    meant = [each for each in _containers(pod) if container in (None, each.get("name"))]
    found = [tuple(given for name in variables if (given := _given(each, name)) is not None) for each in meant]
    faults = [one.fault for each in found for one in each if one.fault]
    for each in found:
        if 0 < len(each) < len(variables):
            missing = set(variables) - {one.variable for one in each}
            faults.append(f"its container {each[0].container} is not given {', '.join(sorted(missing))}")
    whole = tuple(each for each in found if len(each) == len(variables))
    if faults or whole:
        return Reads(whole, "", tuple(faults))
    if why := _why_at_start(pod, meant):
        return Reads(at_start=why)
    named = f"container {container}" if container else "container"
    return Reads(faults=(f"no {named} of it is given {', '.join(variables)} by a Secret",))


def _containers(pod: Object) -> list[Object]:
    """With those that start before the others and stay ("Sidecar Containers")."""
    early = inside(pod, "spec", "initContainers") or ()
    return [*(inside(pod, "spec", "containers") or ()), *(each for each in early if each.get("restartPolicy") == "Always")]


def _given(container: Object, variable: str) -> Given | None:
    name = str(container.get("name"))
    places: list[Place] = []
    entry = next((each for each in reversed(container.get("env") or []) if each.get("name") == variable), None)
    if entry is not None:
        reference = inside(entry, "valueFrom", "secretKeyRef")
        if reference is None:
            return Given(
                name, variable, fault=f"its container {name} is given {variable} by its template, and not by a Secret"
            )
        optional = reference.get("optional") is True
        places.append(Place(_SECRET, str(reference.get("name")), str(reference.get("key")), not optional))
        if not optional:
            return Given(name, variable, tuple(places))
    for source in reversed(container.get("envFrom") or []):
        places += _of_source(source, variable)
    if not any(place.kind == _SECRET for place in places):
        return None
    return Given(name, variable, tuple(places))


def _of_source(source: Object, variable: str) -> Iterator[Place]:
    prefix = source.get("prefix") or ""
    for kind, field in ((_SECRET, "secretRef"), (_CONFIG_MAP, "configMapRef")):
        reference = source.get(field)
        if reference is not None and variable.startswith(prefix) and variable != prefix:
            yield Place(
                kind, str(reference.get("name")), variable.removeprefix(prefix), reference.get("optional") is not True
            )


def _why_at_start(pod: Object, containers: Sequence[Object]) -> str:
    annotations = inside(pod, "metadata", "annotations") or {}
    if str(annotations.get(_INJECTED)).lower() == "true":
        return "Vault's agent is injected into it, and reads the store before it starts"
    if any(inside(each, "csi", "driver") == _CSI for each in inside(pod, "spec", "volumes") or ()):
        return "a CSI volume of the Secrets Store driver is mounted anew into each pod"
    if any(_is_launcher(each) for each in containers):
        return "`keyturn exec` reads the store when it starts"
    return ""


def _is_launcher(container: Object) -> bool:
    """`keyturn exec`, unless it reads what somebody else renders."""
    words = [str(each) for each in (*(container.get("command") or ()), *(container.get("args") or ()))]
    own = words[: words.index("--")] if "--" in words else words
    launches = any(PurePosixPath(word).name == "keyturn" for word in own) and "exec" in own
    return launches and not any(word.split("=")[0] == "--env-file" for word in own)
