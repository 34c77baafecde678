"""Pods of the Kubernetes double, and the budgets of their disruption, which are plain objects here.

After the page "Pod Lifecycle" of kubernetes.io, and held to recordings. A pod that is deleted stays, marked, until its
kubelet has ended it: `deletionTimestamp` is when the grace period will be over. The plugins of admission that every cluster
has (service account, priority, tolerations of a silent node) have put their fields in.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta

from keyturn.testing.kubernetes_clock import moment_of
from keyturn.testing.kubernetes_metadata import UndecodableError
from keyturn.testing.kubernetes_objects import RANDOM, Resource
from keyturn.testing.kubernetes_patches import METADATA_KEYS
from keyturn.testing.kubernetes_pod_templates import merge_keys, with_pod_defaults, without_nulls
from keyturn.testing.kubernetes_refusals import Cause, Object

_MOUNTED = "/var/run/secrets/kubernetes.io/serviceaccount"
_NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_ONLY_IMAGES = "Forbidden: pod updates may not change fields other than images"


def decoded(sent: Object) -> Object:
    """UndecodableError where `spec` is no object: deeper the double does not look."""
    found: Object = without_nulls(sent)
    if not isinstance(found.get("spec", {}), dict):
        raise UndecodableError("json: cannot unmarshal into Go struct field .spec")
    return found


def _prepared(new: Object, old: Object | None) -> Object:
    spec = with_pod_defaults(new.get("spec") or {})
    if old is not None:
        metadata = new["metadata"]
        if spec != old["spec"]:
            metadata = {**metadata, "generation": metadata["generation"] + 1}
        return {**new, "metadata": metadata, "spec": spec, "status": old["status"]}
    metadata = {**new["metadata"], "generation": 1}
    return {
        **new,
        "metadata": metadata,
        "spec": _admitted(spec),
        "status": {"phase": "Pending", "qosClass": _quality(spec)},
    }


def _admitted(spec: Object) -> Object:
    volume = f"kube-api-access-{''.join(secrets.choice(RANDOM) for _ in range(5))}"
    account = spec.get("serviceAccountName", "default")
    new = {
        **spec,
        "enableServiceLinks": spec.get("enableServiceLinks", True),
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "serviceAccount": account,
        "serviceAccountName": account,
        "tolerations": [*spec.get("tolerations", []), *_tolerations(spec)],
    }
    if spec.get("automountServiceAccountToken", True):
        mount = {"mountPath": _MOUNTED, "name": volume, "readOnly": True}
        new["containers"] = [
            {**each, "volumeMounts": [*each.get("volumeMounts", []), mount]} for each in spec.get("containers", [])
        ]
        new["volumes"] = [*spec.get("volumes", []), _account_volume(volume)]
    return new


def _tolerations(spec: Object) -> Iterator[Object]:
    """Five minutes of a silent node, for those who say nothing of it."""
    told = {each.get("key") for each in spec.get("tolerations", []) if each.get("effect") in ("NoExecute", None)}
    for key in (_NOT_READY, UNREACHABLE):
        if key not in told:
            yield {"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": 300}


def _account_volume(name: str) -> Object:
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
        {
            "downwardAPI": {
                "items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]
            }
        },
    ]
    return {"name": name, "projected": {"defaultMode": 420, "sources": sources}}


def _quality(spec: Object) -> str:
    """Its class of quality of service."""
    asked = [each.get("resources") or {} for each in spec.get("containers", [])]
    if not any(each.get("requests") or each.get("limits") for each in asked):
        return "BestEffort"
    whole = all(
        set(each.get("limits") or {}) >= {"cpu", "memory"} and each.get("requests", each["limits"]) == each["limits"]
        for each in asked
    )
    return "Guaranteed" if whole else "Burstable"


def _causes(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from container_causes(new["spec"], "spec")
    if old is not None and _without_images(new["spec"]) != _without_images(old["spec"]):
        yield Cause("spec", _ONLY_IMAGES, "FieldValueForbidden")


def container_causes(spec: Object, field: str) -> Iterator[Cause]:
    """That a pod has containers, each with a name and an image."""
    if not spec.get("containers"):
        yield Cause(f"{field}.containers", "Required value", "FieldValueRequired")
    for number, each in enumerate(spec.get("containers", [])):
        for name in ("name", "image"):
            if not each.get(name):
                yield Cause(f"{field}.containers[{number}].{name}", "Required value", "FieldValueRequired")


def _without_images(spec: Object) -> Object:
    return {**spec, "containers": [{**each, "image": ""} for each in spec["containers"]]}


def _grace(pod: Object, options: Object) -> int:
    """None for a pod that runs nowhere: nobody would end it."""
    if not pod["spec"].get("nodeName") or is_finished(pod):
        return 0
    return int(options.get("gracePeriodSeconds", pod["spec"]["terminationGracePeriodSeconds"]))


def _budget_prepared(new: Object, old: Object | None) -> Object:
    metadata, spec = new["metadata"], new.get("spec") or {}
    if old is None:
        told = dict.fromkeys(("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"), 0)
        return {**new, "metadata": {**metadata, "generation": 1}, "spec": spec, "status": told}
    generation = old["metadata"]["generation"] + (spec != old["spec"])
    return {**new, "metadata": {**metadata, "generation": generation}, "spec": spec, "status": old["status"]}


PODS = Resource(
    "",
    "v1",
    "pods",
    "Pod",
    decoded=decoded,
    prepared=_prepared,
    causes=_causes,
    merge_keys={**METADATA_KEYS, **merge_keys("spec")},
    grace=_grace,
    tells_last=True,
)
DISRUPTION_BUDGETS = Resource(
    "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", decoded=decoded, prepared=_budget_prepared
)


def is_finished(pod: Object) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def is_ending(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def ready_since(pod: Object) -> datetime | None:
    for each in pod["status"].get("conditions", []):
        if each["type"] == "Ready" and each["status"] == "True":
            return moment_of(each["lastTransitionTime"])
    return None


def is_available(pod: Object, seconds: int, now: datetime) -> bool:
    """Ready for so long."""
    since = ready_since(pod)
    return since is not None and since + timedelta(seconds=seconds) <= now


def pinned_to(pod: Object) -> str | None:
    """The node that its affinity demands, as the controller of DaemonSets sets it."""
    match pod["spec"].get("affinity", {}).get("nodeAffinity"):
        case {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [str(name)]}]}]
            }
        }:
            return name
    return None


def tolerated(pod: Object) -> float:
    """For how many seconds it stays where its node is silent."""
    for each in pod["spec"].get("tolerations", []):
        if each.get("key") == UNREACHABLE and each.get("effect") in ("NoExecute", None):
            return float(each.get("tolerationSeconds", "inf"))
    return 0.0
