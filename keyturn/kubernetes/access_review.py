"""Whether this user may do something, by the server's own word. Every user may ask, and nothing is changed by it."""

from __future__ import annotations

from keyturn.errors import PermanentError
from keyturn.json_object import inside
from keyturn.kubernetes.access import Wanted
from keyturn.kubernetes.client import KubernetesClient
from keyturn.model import Finding

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def permission(client: KubernetesClient, wanted: Wanted) -> Finding:
    """By a SelfSubjectAccessReview. A RetryableError comes through."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": wanted.attributes()},
    }
    what = f"this user may {wanted}"
    try:
        answer = await client.request("POST", _REVIEWS, wanted, review)
    except PermanentError as error:
        return Finding(what, None, error.message, error.remedy)
    allowed = inside(answer.body, "status", "allowed")
    if not isinstance(allowed, bool) or answer.status not in (200, 201):
        return Finding(what, None, "the server does not say")
    return Finding(
        what,
        allowed,
        "" if allowed else "not granted",
        "" if allowed else f"its Role in the namespace {wanted.namespace} needs the rule {wanted.rule()}",
    )
