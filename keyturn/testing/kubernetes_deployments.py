"""Deployments of the Kubernetes double as objects: their defaults, their generation, and what makes one invalid.

Held to recordings of a 1.36.2 server; the rules that they do not have are after the API reference of kubernetes.io
(DeploymentSpec) and ValidateDeploymentSpec of Kubernetes 1.36. The generation rises by a change of the spec **or of the
metadata's annotations**. What its controller does is in kubernetes_deployment_controller.py.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from keyturn.testing.kubernetes_metadata import UndecodableError, go
from keyturn.testing.kubernetes_objects import Resource
from keyturn.testing.kubernetes_patches import METADATA_KEYS
from keyturn.testing.kubernetes_pod_templates import merge_keys, with_pod_defaults
from keyturn.testing.kubernetes_pods import container_causes, decoded
from keyturn.testing.kubernetes_refusals import Cause, Object

_NUMBERS = ("replicas", "minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit")
_ROLLING = {"maxSurge": "25%", "maxUnavailable": "25%"}


def workload_decoded(sent: Object) -> Object:
    """UndecodableError where a number of the spec is none."""
    found = decoded(sent)
    for name in _NUMBERS:
        value = found.get("spec", {}).get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool):
            raise UndecodableError(f"json: cannot unmarshal {go(value)} into Go struct field .spec.{name} of type int32")
    return found


def _prepared(new: Object, old: Object | None) -> Object:
    defaults = {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}
    spec = {**defaults, **(new.get("spec") or {})}
    strategy = {"type": "RollingUpdate", **spec.get("strategy", {})}
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {**_ROLLING, **strategy.get("rollingUpdate", {})}
    spec |= {"strategy": strategy, "template": template_with_defaults(spec.get("template", {}))}
    metadata = new["metadata"]
    if old is None:
        return {**new, "metadata": {**metadata, "generation": 1}, "spec": spec, "status": {}}
    had = old["metadata"]
    if spec != old["spec"] or metadata.get("annotations", {}) != had.get("annotations", {}):
        metadata = {**metadata, "generation": had["generation"] + 1}
    return {**new, "metadata": metadata, "spec": spec, "status": old["status"]}


def template_with_defaults(template: Object) -> Object:
    metadata = {name: each for name, each in template.get("metadata", {}).items() if each != {}}
    return {"metadata": metadata, "spec": with_pod_defaults(template.get("spec", {}))}


def _causes(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = new["spec"]
    for name in _NUMBERS:
        value = spec.get(name, 0)
        if value < 0:
            yield Cause(f"spec.{name}", f"Invalid value: {value}: must be greater than or equal to 0")
    yield from selector_causes(spec)
    yield from container_causes(spec["template"]["spec"], "spec.template.spec")
    yield from always_causes(spec)
    yield from _strategy_causes(spec["strategy"])
    if 0 < spec["progressDeadlineSeconds"] <= spec.get("minReadySeconds", 0):
        words = f"Invalid value: {spec['progressDeadlineSeconds']}: must be greater than minReadySeconds"
        yield Cause("spec.progressDeadlineSeconds", words)
    if old is not None and spec.get("selector") != old["spec"]["selector"]:
        yield Cause("spec.selector", f"Invalid value: {_compact(spec.get('selector'))}: field is immutable")


def selector_causes(spec: Object) -> Iterator[Cause]:
    """That there is a selector, and that it finds the pods of its own template."""
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    if not wanted:
        yield Cause("spec.selector", "Required value", "FieldValueRequired")
    labels = spec["template"]["metadata"].get("labels", {})
    if wanted and not wanted.items() <= labels.items():
        words = f"Invalid value: {_compact(labels)}: `selector` does not match template `labels`"
        yield Cause("spec.template.metadata.labels", words)


def always_causes(spec: Object) -> Iterator[Cause]:
    """That containers of its pods are started again whenever they end."""
    if (policy := spec["template"]["spec"]["restartPolicy"]) != "Always":
        words = f'Unsupported value: "{policy}": supported values: "Always"'
        yield Cause("spec.template.spec.restartPolicy", words, "FieldValueNotSupported")


def _strategy_causes(strategy: Object) -> Iterator[Cause]:
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] == "Recreate" and rolling is not None:
        words = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
        yield Cause("spec.strategy.rollingUpdate", words, "FieldValueForbidden")
    elif strategy["type"] not in ("Recreate", "RollingUpdate"):
        words = f'Unsupported value: "{strategy["type"]}": supported values: "Recreate", "RollingUpdate"'
        yield Cause("spec.strategy.type", words, "FieldValueNotSupported")
    elif rolling is not None:
        where, wrong = "spec.strategy.rollingUpdate", [name for name in _ROLLING if not is_amount(rolling[name])]
        for name in wrong:
            words = "a valid percent string must be a numeric string followed by an ending '%'"
            yield Cause(f"{where}.{name}", f"Invalid value: {json.dumps(rolling[name])}: {words}")
        if not wrong and all(re.fullmatch("0+%?", str(rolling[name])) for name in _ROLLING):
            yield Cause(f"{where}.maxUnavailable", "Invalid value: 0: may not be 0 when `maxSurge` is 0")


def is_amount(value: Any) -> bool:
    """A number, or a percentage."""
    if isinstance(value, str):
        return re.fullmatch("[0-9]+%", value) is not None
    return isinstance(value, int) and value >= 0


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


DEPLOYMENTS = Resource(
    "apps",
    "v1",
    "deployments",
    "Deployment",
    decoded=workload_decoded,
    prepared=_prepared,
    causes=_causes,
    merge_keys={**METADATA_KEYS, **merge_keys("spec", "template", "spec"), ("status", "conditions"): "type"},
)


def surge_and_unavailable(deployment: Object) -> tuple[int, int]:
    """How many pods may be there above the wanted ones, and how many of these may be away: percentages of what is wanted.

    One of a surge is rounded up, one of what is away down; where both come to 0, one may be away.
    """
    strategy, wanted = deployment["spec"]["strategy"], deployment["spec"]["replicas"]
    if strategy["type"] != "RollingUpdate":
        return 0, 0
    surge = amount(strategy["rollingUpdate"]["maxSurge"], wanted, math.ceil)
    unavailable = amount(strategy["rollingUpdate"]["maxUnavailable"], wanted, math.floor)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, wanted)


def amount(value: int | str, whole: int, rounded: Callable[[Fraction], int]) -> int:
    """A number, or a percentage of the whole."""
    return value if isinstance(value, int) else rounded(Fraction(whole * int(value.removesuffix("%")), 100))
