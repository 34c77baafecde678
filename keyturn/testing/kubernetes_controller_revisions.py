"""The history of a StatefulSet's or a DaemonSet's template in the Kubernetes double: its ControllerRevisions.

After the page "StatefulSets" ("Revision history") of kubernetes.io and the API reference of ControllerRevision: one object
for each template that there was, whose `revision` is the order in which they became the newest. A template that comes back
gets its old object, with a new number. Not compared with a real server; the hash in their names is one of ours.
"""

from __future__ import annotations

from keyturn.testing.kubernetes_objects import Cluster, Resource
from keyturn.testing.kubernetes_owners import owned_by, reference_to
from keyturn.testing.kubernetes_refusals import Object
from keyturn.testing.kubernetes_revisions import template_hash

CONTROLLER_REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
HASH = "controller-revision-hash"
"""A label of pods: the name of their revision (StatefulSet), or its hash alone (DaemonSet)."""


def revised(cluster: Cluster, workload: Object, label: str) -> list[Object]:
    """Its revisions in their order; the last is that of its template. `label`: what the hash stands in."""
    there = sorted(owned_by(cluster, CONTROLLER_REVISIONS, workload), key=_number)
    data = {"spec": {"template": {**workload["spec"]["template"], "$patch": "replace"}}}
    found = next((each for each in there if each["data"] == data), None)
    if found is not None and found is there[-1]:
        return there
    number = _number(there[-1]) + 1 if there else 1
    others = [each for each in there if each is not found]
    if found is not None:
        return [*others, cluster.write_parts(CONTROLLER_REVISIONS, found, {"revision": number})]
    metadata, template = workload["metadata"], workload["spec"]["template"]
    hashed = template_hash(template)
    named = {
        "name": f"{metadata['name']}-{hashed}",
        "labels": {**template["metadata"].get("labels", {}), label: hashed},
        "ownerReferences": [reference_to(workload)],
    }
    sent = {"metadata": named, "data": data, "revision": number}
    return [*others, cluster.create(CONTROLLER_REVISIONS, metadata["namespace"], sent)]


def template_of(revision: Object) -> Object:
    return {name: each for name, each in revision["data"]["spec"]["template"].items() if name != "$patch"}


def tidied(cluster: Cluster, workload: Object, revisions: list[Object], in_use: set[str]) -> None:
    """Delete those of them beyond the limit of the history that nothing is of. `in_use`: names."""
    idle = [each for each in revisions if each["metadata"]["name"] not in in_use]
    for each in idle[: max(0, len(idle) - workload["spec"]["revisionHistoryLimit"])]:
        cluster.delete(CONTROLLER_REVISIONS, each["metadata"]["namespace"], each["metadata"]["name"])


def _number(revision: Object) -> int:
    return int(revision["revision"])
