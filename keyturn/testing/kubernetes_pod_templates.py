"""What a Kubernetes API server makes of a pod's spec, in a template and in a pod: its defaults, and how its lists merge.

Defaults are held to the recording of a create (tests/data/kubernetes-1.36.2); those of fields that it lacks are after
the API reference of kubernetes.io (PodSpec, Container, Probe, Volume). Left out: init and ephemeral containers have the
defaults of containers alone, and volumes of other kinds than these four have none.
"""

from __future__ import annotations

from typing import Any

from keyturn.testing.kubernetes_patches import MergeKeys
from keyturn.testing.kubernetes_refusals import Object

_PROBES = ("readinessProbe", "livenessProbe", "startupProbe")
_PROBE = {"failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1}
_HTTP_GET = {"path": "/", "scheme": "HTTP"}
_WITH_MODE = ("secret", "configMap", "projected", "downwardAPI")
_POD = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}
_CONTAINER = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}


def without_nulls(value: Any) -> Any:
    """A field that is null is one that is absent."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


def with_pod_defaults(spec: Object) -> Object:
    """The spec of a pod with all that the server fills in before admission."""
    new = {**_POD, **spec}
    for kind in ("containers", "initContainers"):
        if kind in new:
            new[kind] = [_container(each) for each in new[kind]]
    if "volumes" in new:
        new["volumes"] = [_volume(each) for each in new["volumes"]]
    if "serviceAccountName" in new:
        new["serviceAccount"] = new["serviceAccountName"]
    return new


def _container(sent: Object) -> Object:
    new = {**_CONTAINER, "imagePullPolicy": _pull_policy(sent.get("image", "")), **sent}
    if "ports" in new:
        new["ports"] = [{"protocol": "TCP", **each} for each in new["ports"]]
    if "env" in new:
        new["env"] = [_variable(each) for each in new["env"]]
    for name in _PROBES:
        if name in new:
            new[name] = {**_PROBE, **_handler(new[name])}
    if "lifecycle" in new:
        new["lifecycle"] = {name: _handler(each) for name, each in new["lifecycle"].items()}
    return new


def _pull_policy(image: str) -> str:
    _, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    return "Always" if tag in ("", "latest") and "@" not in image else "IfNotPresent"


def _variable(sent: Object) -> Object:
    field = (sent.get("valueFrom") or {}).get("fieldRef")
    return {**sent, "valueFrom": {"fieldRef": {"apiVersion": "v1", **field}}} if field else sent


def _handler(sent: Object) -> Object:
    return {**sent, "httpGet": {**_HTTP_GET, **sent["httpGet"]}} if "httpGet" in sent else sent


def _volume(sent: Object) -> Object:
    return {name: {"defaultMode": 420, **each} if name in _WITH_MODE else each for name, each in sent.items()}


def merge_keys(*pod_spec: str) -> MergeKeys:
    """Of the lists in a pod's spec, which stands at this path."""
    keys: dict[tuple[str, ...], str] = {("volumes",): "name", ("imagePullSecrets",): "name", ("hostAliases",): "ip"}
    for containers in ("containers", "initContainers"):
        keys[containers,] = "name"
        keys[containers, "env"] = "name"
        keys[containers, "ports"] = "containerPort"
        keys[containers, "volumeMounts"] = "mountPath"
    return {(*pod_spec, *path): key for path, key in keys.items()}
