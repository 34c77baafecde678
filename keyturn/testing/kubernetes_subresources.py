"""What stands below an object of the Kubernetes double: its `scale`, its `status`, a pod's `eviction`, an account's `token`.

After the API reference of kubernetes.io (Scale, Eviction, TokenRequest) and its page "API-initiated Eviction". Refusals of
access are held to recordings, the rest is **not compared with a real server**. RefusedError where it is refused.
"""

from __future__ import annotations

from typing import Any

from keyturn.testing.kubernetes_access import AUDIENCE, Access
from keyturn.testing.kubernetes_disruptions import spend
from keyturn.testing.kubernetes_objects import Cluster, Resource
from keyturn.testing.kubernetes_patches import patched
from keyturn.testing.kubernetes_refusals import (
    Cause,
    Object,
    bad_request,
    conflict,
    done,
    invalid,
    method_not_allowed,
    no_such_path,
)

_SCALED = ("deployments", "replicasets", "statefulsets")
_STATUS = (*_SCALED, "daemonsets", "pods", "poddisruptionbudgets")


def read(cluster: Cluster, resource: Resource, namespace: str, name: str, below: str) -> Object:
    there = cluster.get(resource, namespace, name)
    if below == "scale" and resource.plural in _SCALED:
        return _scale(there)
    if below == "status" and resource.plural in _STATUS:
        return there
    raise no_such_path()


def write(
    cluster: Cluster, resource: Resource, namespace: str, name: str, below: str, kind: str | None, sent: Any
) -> Object:
    """`kind`: of the patch; None where the whole is sent."""
    old = read(cluster, resource, namespace, name, below)
    new = sent if kind is None else patched(old, kind, sent, resource.merge_keys)
    wanted = (new.get("metadata") or {}).get("resourceVersion") or old["metadata"]["resourceVersion"]
    if wanted != old["metadata"]["resourceVersion"]:
        raise conflict(resource.named(name))
    there = cluster.get(resource, namespace, name)
    if below == "status":
        return cluster.write_parts(resource, there, {"status": new.get("status", {})})
    replicas = (new.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request('Scale in version "v1" cannot be handled as a Scale: .spec.replicas is no number')
    if replicas < 0:
        words = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid("Scale", "autoscaling", name, [Cause("spec.replicas", words)])
    return _scale(cluster.update(resource, namespace, name, {**there, "spec": {**there["spec"], "replicas": replicas}}))


def create(
    cluster: Cluster, access: Access, resource: Resource, namespace: str, name: str, below: str, sent: Object
) -> Object:
    match resource.plural, below:
        case "serviceaccounts", "token":
            return _token_request(access, namespace, name, sent)
        case "pods", "eviction":
            return _evicted(cluster, resource, namespace, name, sent)
        case _ if (below == "scale" and resource.plural in _SCALED) or (below == "status" and resource.plural in _STATUS):
            raise method_not_allowed()
    raise no_such_path()


def _scale(workload: Object) -> Object:
    """A 0 in its spec is left out."""
    metadata, spec = workload["metadata"], workload["spec"]
    labels = spec["selector"].get("matchLabels", {})
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {each: metadata[each] for each in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")},
        "spec": {"replicas": spec["replicas"]} if spec["replicas"] else {},
        "status": {
            "replicas": workload["status"].get("replicas", 0),
            "selector": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        },
    }


def _evicted(cluster: Cluster, resource: Resource, namespace: str, name: str, sent: Object) -> Object:
    if (sent.get("metadata") or {}).get("name", name) != name:
        raise bad_request("name in URL does not match name in Eviction object")
    pod = cluster.get(resource, namespace, name)
    spend(cluster, pod)
    cluster.delete(resource, namespace, name, sent.get("deleteOptions") or {})
    return {**done(resource.named(name), ""), "details": {}, "code": 201}


def _token_request(access: Access, namespace: str, name: str, sent: Object) -> Object:
    seconds = (sent.get("spec") or {}).get("expirationSeconds", 3600)
    token = access.add_account(namespace, name)
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"audiences": [AUDIENCE], "expirationSeconds": seconds},
        "status": {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"},
    }
