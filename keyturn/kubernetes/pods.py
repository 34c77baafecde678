"""What a pod says of itself, as the API server gives it. Pure."""

from __future__ import annotations

from typing import Any

from keyturn.json_object import inside

Object = dict[str, Any]
_HASH = "pod-template-hash"  # a label that the controller of Deployments sets ("Deployments", "Pod-template-hash label")


def mark_name(credential: str) -> str:
    """An annotation of the pod template, and so of its pods: what they were last rolled for, for this credential.

    The credential stands first, since its name may end with a hyphen, and that of an annotation may not. At most 51
    characters stand behind the slash, of the 63 that may.
    """
    return f"keyturn.dev/{credential}.rolled-for"


def mark_in(found: Any, credential: str) -> str:
    """Of a pod, or of a pod template; "": none."""
    return str(inside(found, "metadata", "annotations", mark_name(credential)) or "")


def name_of(found: Object) -> str:
    return str(inside(found, "metadata", "name") or "")


def is_there(pod: Object) -> bool:
    """It runs, may still run, or is ending."""
    return inside(pod, "status", "phase") not in ("Succeeded", "Failed")


def is_ending(pod: Object) -> bool:
    return inside(pod, "metadata", "deletionTimestamp") is not None


def is_ready(pod: Object) -> bool:
    found = inside(pod, "status", "conditions")
    return isinstance(found, list) and any(
        inside(each, "type") == "Ready" and inside(each, "status") == "True" for each in found
    )


def url_of(pod: Object, port: int) -> str:
    """Where its program answers; "" while it has no address."""
    address = inside(pod, "status", "podIP")
    if not isinstance(address, str) or not address:
        return ""
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def owner_of(pod: Object) -> tuple[str, str]:
    """Kind and name of what keeps it; ("", ""): nothing, or nothing that can be told.

    A Deployment keeps its pods by a ReplicaSet, whose name is its own, a hyphen, and a hash, which is a label of the pod
    ("Deployments", "Creating a Deployment"). So no ReplicaSet has to be read.
    """
    references = inside(pod, "metadata", "ownerReferences")
    for each in references if isinstance(references, list) else []:
        if inside(each, "controller") is not True:
            continue
        kind, name = str(inside(each, "kind")), str(inside(each, "name"))
        suffix = f"-{inside(pod, 'metadata', 'labels', _HASH)}"
        if kind == "ReplicaSet" and name.endswith(suffix):
            return "Deployment", name.removesuffix(suffix)
        return kind, name
    return "", ""
