"""StatefulSets of the Kubernetes double as objects: their defaults, their generation, and what makes one invalid.

After the API reference of kubernetes.io (StatefulSetSpec) and its page "StatefulSets". **Not compared with a real server**:
the fields are held to the models of the official client, the words of refusals are ours. The generation rises by a change of
the spec. Volumes are claimed by nobody: `volumeClaimTemplates` are kept, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keyturn.testing.kubernetes_deployments import always_causes, selector_causes, template_with_defaults, workload_decoded
from keyturn.testing.kubernetes_objects import Resource
from keyturn.testing.kubernetes_patches import METADATA_KEYS
from keyturn.testing.kubernetes_pod_templates import merge_keys
from keyturn.testing.kubernetes_pods import container_causes
from keyturn.testing.kubernetes_refusals import Cause, Object

ROLLING, ON_DELETE = "RollingUpdate", "OnDelete"
_MAY_CHANGE = (
    *("minReadySeconds", "ordinals", "persistentVolumeClaimRetentionPolicy", "replicas", "revisionHistoryLimit"),
    *("template", "updateStrategy"),
)
_KEPT = {"whenDeleted": "Retain", "whenScaled": "Retain"}


def _prepared(new: Object, old: Object | None) -> Object:
    defaults = {"podManagementPolicy": "OrderedReady", "replicas": 1, "revisionHistoryLimit": 10}
    spec = {**defaults, **(new.get("spec") or {})}
    strategy = {"type": ROLLING, **spec.get("updateStrategy", {})}
    if strategy["type"] == ROLLING:
        strategy["rollingUpdate"] = {"maxUnavailable": 1, "partition": 0, **strategy.get("rollingUpdate", {})}
    kept = {**_KEPT, **spec.get("persistentVolumeClaimRetentionPolicy", {})}
    template = template_with_defaults(spec.get("template", {}))
    spec |= {"updateStrategy": strategy, "template": template, "persistentVolumeClaimRetentionPolicy": kept}
    return with_generation(new, old, spec, {"availableReplicas": 0, "replicas": 0})


def with_generation(new: Object, old: Object | None, spec: Object, status: Object) -> Object:
    """The object with this spec, and with its first status where it is new."""
    metadata = new["metadata"]
    if old is None:
        return {**new, "metadata": {**metadata, "generation": 1}, "spec": spec, "status": status}
    if spec != old["spec"]:
        metadata = {**metadata, "generation": old["metadata"]["generation"] + 1}
    return {**new, "metadata": metadata, "spec": spec, "status": old["status"]}


def _causes(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = new["spec"]
    yield from selector_causes(spec)
    yield from container_causes(spec["template"]["spec"], "spec.template.spec")
    yield from always_causes(spec)
    if spec["replicas"] < 0:
        yield Cause("spec.replicas", f"Invalid value: {spec['replicas']}: must be greater than or equal to 0")
    if spec["podManagementPolicy"] not in ("OrderedReady", "Parallel"):
        yield Cause("spec.podManagementPolicy", f'Invalid value: "{spec["podManagementPolicy"]}": no such policy')
    yield from strategy_causes(spec["updateStrategy"])
    partition = (spec["updateStrategy"].get("rollingUpdate") or {}).get("partition", 0)
    if not is_number(partition):
        words = f"Invalid value: {partition}: must be greater than or equal to 0"
        yield Cause("spec.updateStrategy.rollingUpdate.partition", words)
    if old is not None and _fixed(spec) != _fixed(old["spec"]):
        others = f"{', '.join(repr(each) for each in _MAY_CHANGE[:-1])} and {_MAY_CHANGE[-1]!r}"
        words = f"Forbidden: updates to statefulset spec for fields other than {others} are forbidden"
        yield Cause("spec", words, "FieldValueForbidden")


def strategy_causes(strategy: Object) -> Iterator[Cause]:
    """That there is such a strategy of updates, for a DaemonSet too."""
    if strategy["type"] not in (ROLLING, ON_DELETE):
        yield Cause("spec.updateStrategy.type", f'Invalid value: "{strategy["type"]}": no such strategy')
    elif strategy["type"] == ON_DELETE and strategy.get("rollingUpdate") is not None:
        yield Cause("spec.updateStrategy.rollingUpdate", f"Invalid value: only allowed for the strategy {ROLLING}")


def is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _fixed(spec: Object) -> Object:
    return {name: each for name, each in spec.items() if name not in _MAY_CHANGE}


STATEFUL_SETS = Resource(
    "apps",
    "v1",
    "statefulsets",
    "StatefulSet",
    decoded=workload_decoded,
    prepared=_prepared,
    causes=_causes,
    merge_keys={**METADATA_KEYS, **merge_keys("spec", "template", "spec"), ("status", "conditions"): "type"},
)
