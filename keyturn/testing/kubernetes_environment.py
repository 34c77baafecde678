"""The variables that a container of the Kubernetes double starts with, as they are at that moment.

After the pages "Define Environment Variables for a Container", "Define Dependent Environment Variables" and "Secrets" of
kubernetes.io: `env` goes before `envFrom`, the later source before the earlier one, and `$(NAME)` stands for what was named
before. There are no ConfigMaps: one that is not `optional` is waited for.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

from keyturn.testing.kubernetes_containers import CannotStartError
from keyturn.testing.kubernetes_objects import Cluster
from keyturn.testing.kubernetes_refusals import Object
from keyturn.testing.kubernetes_secrets import SECRETS

_NAMED = re.compile(r"\$\$|\$\(([-._a-zA-Z0-9]+)\)")
_ONE_OF_MANY = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def environment(cluster: Cluster, pod: Object, container: Object, address: str) -> dict[str, str]:
    """`address`: the pod's. CannotStartError where a secret, or the key of one, is not there."""
    found: dict[str, str] = {}
    space = pod["metadata"]["namespace"]
    for source in container.get("envFrom", []):
        prefix = source.get("prefix", "")
        if "configMapRef" in source:
            _require_optional(source["configMapRef"])
        if "secretRef" in source:
            texts = _secret(cluster, space, source["secretRef"])
            found |= {f"{prefix}{name}": text for name, text in texts.items()}
    for each in container.get("env", []):
        match each.get("valueFrom") or {}:
            case {"secretKeyRef": dict(wanted)}:
                texts = _secret(cluster, space, wanted)
                if wanted["key"] in texts:
                    found[each["name"]] = texts[wanted["key"]]
                else:
                    _require_optional(wanted)
            case {"configMapKeyRef": dict(wanted)}:
                _require_optional(wanted)
            case {"fieldRef": {"fieldPath": str(path)}}:
                found[each["name"]] = _field(pod, path, address)
            case _:
                found[each["name"]] = expanded(each.get("value") or "", found)
    return found


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """With `$(NAME)` put in. A name that is not known stays as it is; `$$` is a dollar sign."""
    return _NAMED.sub(lambda found: "$" if found[1] is None else variables.get(found[1], found[0]), text)


def _secret(cluster: Cluster, space: str, reference: Object) -> dict[str, str]:
    secret = cluster.find(SECRETS, space, reference["name"])
    if secret is None:
        _require_optional(reference)
        return {}
    return {name: base64.b64decode(text).decode(errors="replace") for name, text in secret.get("data", {}).items()}


def _require_optional(reference: Object) -> None:
    if not reference.get("optional"):
        raise CannotStartError("CreateContainerConfigError")


def _field(pod: Object, path: str, address: str) -> str:
    """As the page "Downward API" lists them."""
    if found := _ONE_OF_MANY.fullmatch(path):
        return str(pod["metadata"].get(found[1], {}).get(found[2], ""))
    fields = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.uid": pod["metadata"]["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", ""),
        "status.hostIP": "127.0.0.1",
        "status.podIP": address,
        "status.podIPs": address,
    }
    if path not in fields:
        raise CannotStartError("CreateContainerConfigError")
    return str(fields[path])
