"""DaemonSets of the Kubernetes double as objects: their defaults, their generation, and what makes one invalid.

After the API reference of kubernetes.io (DaemonSetSpec). **Not compared with a real server**: the fields are held to the
models of the official client, the words of refusals are ours. The generation rises by a change of the spec; an annotation of
the server's counts the templates.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.testing.kubernetes_deployments import (
    always_causes,
    is_amount,
    selector_causes,
    template_with_defaults,
    workload_decoded,
)
from keyturn.testing.kubernetes_objects import Resource
from keyturn.testing.kubernetes_patches import METADATA_KEYS
from keyturn.testing.kubernetes_pod_templates import merge_keys
from keyturn.testing.kubernetes_pods import container_causes
from keyturn.testing.kubernetes_refusals import Cause, Object
from keyturn.testing.kubernetes_stateful_sets import ROLLING, strategy_causes, with_generation

TEMPLATES = "deprecated.daemonset.template.generation"
_AMOUNTS = {"maxSurge": 0, "maxUnavailable": 1}
_COUNTERS = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")


def _prepared(new: Object, old: Object | None) -> Object:
    spec = {"revisionHistoryLimit": 10, **(new.get("spec") or {})}
    strategy = {"type": ROLLING, **spec.get("updateStrategy", {})}
    if strategy["type"] == ROLLING:
        strategy["rollingUpdate"] = {**_AMOUNTS, **strategy.get("rollingUpdate", {})}
    spec |= {"updateStrategy": strategy, "template": template_with_defaults(spec.get("template", {}))}
    number = 1
    if old is not None:
        number = int(old["metadata"]["annotations"][TEMPLATES]) + (spec["template"] != old["spec"]["template"])
    metadata = new["metadata"]
    annotations = {**metadata.get("annotations", {}), TEMPLATES: str(number)}
    new = {**new, "metadata": {**metadata, "annotations": annotations}}
    return with_generation(new, old, spec, dict.fromkeys(_COUNTERS, 0))


def _causes(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = new["spec"]
    yield from selector_causes(spec)
    yield from container_causes(spec["template"]["spec"], "spec.template.spec")
    yield from always_causes(spec)
    yield from strategy_causes(spec["updateStrategy"])
    rolling, where = spec["updateStrategy"].get("rollingUpdate"), "spec.updateStrategy.rollingUpdate"
    if spec["updateStrategy"]["type"] == ROLLING:
        wrong = [name for name in _AMOUNTS if not is_amount(rolling[name])]
        for name in wrong:
            yield Cause(f"{where}.{name}", "Invalid value: must be a number, or a percentage")
        none = [str(rolling[name]).rstrip("%").strip("0") == "" for name in _AMOUNTS]
        if not wrong and all(none):
            yield Cause(f"{where}.maxUnavailable", "Invalid value: 0: cannot be 0 when maxSurge is 0")
        if not wrong and not any(none):
            yield Cause(f"{where}.maxSurge", "Invalid value: may not be set when maxUnavailable is non-zero")
    if old is not None and spec.get("selector") != old["spec"]["selector"]:
        yield Cause("spec.selector", "Invalid value: field is immutable")


DAEMON_SETS = Resource(
    "apps",
    "v1",
    "daemonsets",
    "DaemonSet",
    decoded=workload_decoded,
    prepared=_prepared,
    causes=_causes,
    merge_keys={**METADATA_KEYS, **merge_keys("spec", "template", "spec"), ("status", "conditions"): "type"},
)
