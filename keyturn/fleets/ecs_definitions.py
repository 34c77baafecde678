"""Which secrets the tasks of a definition are given, and whether a new value can reach them at all. Pure.

ECS reads `valueFrom` when it starts a task: arn:...:secret:NAME-SUFFIX[:JSON-KEY:STAGE:VERSION-ID]. With a version's id, or
a stage other than AWSCURRENT, it goes on giving out what it gave before. Source: ECS developer guide, "Pass Secrets Manager
secrets through environment variables", and botocore 1.44.5 (Secret). Not measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyturn.json_object import UnreadableError, mapping
from keyturn.model import SecretRef

_PARTS = 7  # of an ARN of a secret, before what ECS lets stand behind it
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}")


@dataclass(frozen=True, slots=True)
class Given:
    """One variable that ECS fills from Secrets Manager."""

    container: str
    variable: str
    arn: str
    key: str
    stage: str
    version: str

    @property
    def is_pinned(self) -> bool:
        return bool(self.version) or self.stage not in ("", "AWSCURRENT")

    def is_of(self, secret: SecretRef) -> bool:
        """Whether it is this secret, and where a field is meant that field, or the whole bundle."""
        name, path = self.arn.split(":", _PARTS - 1)[-1], secret.path
        named = path.split(":", _PARTS - 1)[-1] if path.startswith("arn:") else path
        is_it = name == named or (name.startswith(named) and _SUFFIX.fullmatch(name[len(named) :]) is not None)
        return is_it and self.key in ("", secret.field or "")


@dataclass(frozen=True, slots=True)
class Definition:
    """`container`: the one that serves. `checked`: whether ECS checks the health of one without which the task ends."""

    network: str
    container: Mapping[str, Any]
    given: Sequence[Given]
    checked: bool

    def of(self, secrets: Sequence[SecretRef]) -> Sequence[Given]:
        return [each for each in self.given if any(each.is_of(secret) for secret in secrets)]


def definition_of(value: Any, container: str | None) -> Definition:
    """UnreadableError for anything else. `container`: its name; None: the first."""
    found = mapping(value)
    containers = [mapping(each) for each in found.get("containerDefinitions") or []]
    serving = [each for each in containers if container in (None, each.get("name"))]
    checked = any(each.get("healthCheck") and each.get("essential", True) for each in containers)
    return Definition(
        str(found.get("networkMode") or "bridge"), serving[0] if serving else {}, tuple(_given(containers)), checked
    )


def _given(containers: Sequence[Mapping[str, Any]]) -> Iterator[Given]:
    for container in containers:
        for each in map(mapping, container.get("secrets") or []):
            source = each.get("valueFrom")
            if not isinstance(source, str):
                raise UnreadableError
            parts = source.split(":")
            if len(parts) >= _PARTS and parts[2] == "secretsmanager":
                key, stage, version, *_ = [*parts[_PARTS:], "", "", ""]
                arn = ":".join(parts[:_PARTS])
                yield Given(str(container.get("name")), str(each.get("name")), arn, key, stage, version)
