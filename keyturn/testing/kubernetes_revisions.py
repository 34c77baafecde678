"""The ReplicaSets of a Deployment of the Kubernetes double: which one is of its template, and what they bear of it.

After the page "Deployments" of kubernetes.io ("Pod-template-hash label", "Checking Rollout History", "Clean up Policy") and
held to recordings. The hash is one of ours, in the form of a real one.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from keyturn.testing.kubernetes_deployments import surge_and_unavailable
from keyturn.testing.kubernetes_objects import Cluster
from keyturn.testing.kubernetes_owners import owned_by, reference_to
from keyturn.testing.kubernetes_refusals import Object
from keyturn.testing.kubernetes_replica_sets import REPLICA_SETS

_PREFIX = "deployment.kubernetes.io/"
REVISION, HISTORY = f"{_PREFIX}revision", f"{_PREFIX}revision-history"
DESIRED, MOST = f"{_PREFIX}desired-replicas", f"{_PREFIX}max-replicas"
HASH = "pod-template-hash"
_NOT_COPIED = {REVISION, HISTORY, DESIRED, MOST, "kubectl.kubernetes.io/last-applied-configuration"}
_DIGITS = str.maketrans("0123456789", "456789bcdf")  # as a name that is no word is made of a number


def template_hash(template: Object) -> str:
    number = int.from_bytes(hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()[:4], "big")
    return str(number).translate(_DIGITS)


def all_of(cluster: Cluster, deployment: Object) -> tuple[Object | None, list[Object]]:
    """The ReplicaSet of its template, and the others, oldest first."""
    there = owned_by(cluster, REPLICA_SETS, deployment)
    wanted = deployment["spec"]["template"]
    new = next((each for each in there if _without_hash(each["spec"]["template"]) == wanted), None)
    return new, [each for each in there if each is not new]


def _without_hash(template: Object) -> Object:
    metadata = template["metadata"]
    labels = {name: value for name, value in metadata.get("labels", {}).items() if name != HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def made(cluster: Cluster, deployment: Object, revision: int, replicas: int) -> Object:
    """A ReplicaSet of its template, of this size."""
    spec, named = deployment["spec"], deployment["metadata"]
    hashed = {HASH: template_hash(spec["template"])}
    template = spec["template"]
    labels = {**template["metadata"].get("labels", {}), **hashed}
    annotations = {**_copied(deployment), **_sizes(deployment), REVISION: str(revision)}
    sent = {
        "metadata": {
            "name": f"{named['name']}-{hashed[HASH]}",
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [reference_to(deployment)],
        },
        "spec": {
            **({"minReadySeconds": spec["minReadySeconds"]} if spec.get("minReadySeconds") else {}),
            "replicas": replicas,
            "selector": {"matchLabels": {**spec["selector"]["matchLabels"], **hashed}},
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        },
    }
    return cluster.create(REPLICA_SETS, named["namespace"], sent)


def scaled(cluster: Cluster, deployment: Object, replica_set: Object, replicas: int) -> Object:
    """As it is when it has this size, and bears what is wanted of the whole Deployment."""
    return _changed(cluster, replica_set, replicas, _sizes(deployment))


def is_of_another_size(deployment: Object, replica_set: Object) -> bool:
    """Whether the Deployment has been scaled since the ReplicaSet was."""
    told = replica_set["metadata"].get("annotations", {}).get(DESIRED)
    return bool(replica_set["spec"]["replicas"] > 0 and told != str(deployment["spec"]["replicas"]))


def brought_up_to_date(cluster: Cluster, deployment: Object, replica_set: Object, revision: int) -> Object:
    """The ReplicaSet of the template, which is there already: its revision becomes the newest one."""
    had = replica_set["metadata"].get("annotations", {})
    annotations = {**_copied(deployment), **_sizes(deployment)}
    if revision > revision_of(replica_set):
        annotations[REVISION] = str(revision)
        if REVISION in had:
            annotations[HISTORY] = ",".join(each for each in (had.get(HISTORY), had[REVISION]) if each)
    return _changed(cluster, replica_set, replica_set["spec"]["replicas"], annotations)


def revision_of(each: Object) -> int:
    return int(each["metadata"].get("annotations", {}).get(REVISION, "0"))


def tidied(cluster: Cluster, deployment: Object, old: list[Object]) -> None:
    """Delete what is empty and beyond the limit of the history."""
    empty = [each for each in old if _is_empty(each)]
    beyond = max(0, len(empty) - deployment["spec"]["revisionHistoryLimit"])
    for each in sorted(empty, key=revision_of)[:beyond]:
        cluster.delete(REPLICA_SETS, each["metadata"]["namespace"], each["metadata"]["name"])


def _is_empty(each: Object) -> bool:
    seen = each["status"].get("observedGeneration", 0) >= each["metadata"]["generation"]
    return bool(each["spec"]["replicas"] == 0 and each["status"]["replicas"] == 0 and seen)


def _changed(cluster: Cluster, replica_set: Object, replicas: int, annotations: dict[str, Any]) -> Object:
    metadata = replica_set["metadata"]
    new = {
        **replica_set,
        "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **annotations}},
        "spec": {**replica_set["spec"], "replicas": replicas},
    }
    return cluster.update(REPLICA_SETS, metadata["namespace"], metadata["name"], new)


def _copied(deployment: Object) -> dict[str, Any]:
    there = deployment["metadata"].get("annotations", {})
    return {name: value for name, value in there.items() if name not in _NOT_COPIED}


def _sizes(deployment: Object) -> dict[str, Any]:
    wanted = deployment["spec"]["replicas"]
    return {DESIRED: str(wanted), MOST: str(wanted + surge_and_unavailable(deployment)[0])}
