"""ReplicaSets of the Kubernetes double, and the controller that makes and deletes their pods.

After the page "ReplicaSet" of kubernetes.io (which pods go first: "Scaling a ReplicaSet") and held to recordings. The status
is of the pods as they stood before the controller acted: what it has just made is counted when it looks again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from keyturn.testing.kubernetes_clock import stamp
from keyturn.testing.kubernetes_deployments import selector_causes, template_with_defaults, workload_decoded
from keyturn.testing.kubernetes_objects import Cluster, Resource
from keyturn.testing.kubernetes_owners import owned_by, reference_to
from keyturn.testing.kubernetes_patches import METADATA_KEYS
from keyturn.testing.kubernetes_pod_templates import merge_keys
from keyturn.testing.kubernetes_pods import PODS, is_available, is_ending, is_finished, ready_since
from keyturn.testing.kubernetes_refusals import Cause, Named, Object, RefusedError, status


def _prepared(new: Object, old: Object | None) -> Object:
    spec = {"replicas": 1, **(new.get("spec") or {})}
    spec["template"] = template_with_defaults(spec.get("template", {}))
    metadata = new["metadata"]
    if old is None:
        return {**new, "metadata": {**metadata, "generation": 1}, "spec": spec, "status": {"replicas": 0}}
    if spec != old["spec"]:
        metadata = {**metadata, "generation": old["metadata"]["generation"] + 1}
    return {**new, "metadata": metadata, "spec": spec, "status": old["status"]}


def _causes(new: Object, old: Object | None) -> Iterator[Cause]:
    if new["spec"]["replicas"] < 0:
        yield Cause("spec.replicas", f"Invalid value: {new['spec']['replicas']}: must be greater than or equal to 0")
    yield from selector_causes(new["spec"])


REPLICA_SETS = Resource(
    "apps",
    "v1",
    "replicasets",
    "ReplicaSet",
    decoded=workload_decoded,
    prepared=_prepared,
    causes=_causes,
    merge_keys={**METADATA_KEYS, **merge_keys("spec", "template", "spec"), ("status", "conditions"): "type"},
)


class ReplicaSetController:
    """`refusing`: why no pod can be made at present, as a quota or a webhook of admission would say it; "": they can."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.refusing = ""

    def sync(self, replica_set: Object) -> None:
        """Look at one, act, and tell. RefusedError: it has changed meanwhile, look again."""
        pods = [pod for pod in owned_by(self._cluster, PODS, replica_set) if not is_finished(pod)]
        active = [pod for pod in pods if not is_ending(pod)]
        failure = ""
        missing = replica_set["spec"]["replicas"] - len(active)
        if "deletionTimestamp" not in replica_set["metadata"]:
            try:
                for _ in range(missing):
                    self._make(replica_set)
            except RefusedError as error:
                failure = str(error.body["message"] if isinstance(error.body, dict) else error.body)
            for pod in self._first_to_go(active)[: max(0, -missing)]:
                self._cluster.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        told = self._status(replica_set, pods, active, failure)
        self._cluster.write_parts(REPLICA_SETS, replica_set, {"status": told})

    def _make(self, replica_set: Object) -> None:
        prefix = f"{replica_set['metadata']['name']}-"
        if self.refusing:
            about = Named("", "pods", prefix)
            message = f'pods "{prefix}" is forbidden: {self.refusing}'
            raise RefusedError(403, status(403, "Forbidden", message, about.details()))
        template = replica_set["spec"]["template"]
        metadata = {**template["metadata"], "generateName": prefix, "ownerReferences": [reference_to(replica_set)]}
        self._cluster.create(PODS, replica_set["metadata"]["namespace"], {"metadata": metadata, "spec": template["spec"]})

    @staticmethod
    def _first_to_go(pods: list[Object]) -> list[Object]:
        """Who has no node, does not run, or is not ready goes first; then by cost, crowd, readiness, restarts, age."""
        crowd = Counter(pod["spec"].get("nodeName") for pod in pods)
        phases = ("Pending", "Unknown", "Running")

        def rank(pod: Object) -> tuple[Any, ...]:
            since = ready_since(pod)
            cost = pod["metadata"].get("annotations", {}).get("controller.kubernetes.io/pod-deletion-cost", "0")
            return (
                "nodeName" in pod["spec"],
                phases.index(pod["status"]["phase"]),
                since is not None,
                int(cost),
                -crowd[pod["spec"].get("nodeName")],
                -since.timestamp() if since else 0,
                -max((each["restartCount"] for each in pod["status"].get("containerStatuses", [])), default=0),
            )

        newest_first = sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True)
        return sorted(newest_first, key=rank)

    def _status(self, replica_set: Object, pods: list[Object], active: list[Object], failure: str) -> Object:
        now, least = self._cluster.now(), replica_set["spec"].get("minReadySeconds", 0)
        labels = replica_set["spec"]["template"]["metadata"].get("labels", {})
        counters = {
            "fullyLabeledReplicas": sum(labels.items() <= pod["metadata"].get("labels", {}).items() for pod in active),
            "readyReplicas": sum(ready_since(pod) is not None for pod in active),
            "availableReplicas": sum(is_available(pod, least, now) for pod in active),
        }
        told: Object = {
            "replicas": len(active),
            "terminatingReplicas": len(pods) - len(active),
            "observedGeneration": replica_set["metadata"]["generation"],
            **{name: number for name, number in counters.items() if number},
        }
        if failure:
            had = next(iter(replica_set["status"].get("conditions", [])), None)
            failed = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": failure}
            told["conditions"] = [had or {**failed, "lastTransitionTime": stamp(now)}]
        return told
