"""How a Kubernetes API server refuses: the Status objects in its own words.

Held to recordings of a 1.36.2 server where there is one (tests/testing/test_kubernetes_double.py says which), else to the
API conventions ("Response Status Kind", github.com/kubernetes/community, contributors/devel/sig-architecture) and to the
messages of k8s.io/apimachinery/pkg/api/errors 1.36.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


class RefusedError(Exception):
    """An answer that is no success. `body` is the Status object, or the plain text of an answer that has none."""

    def __init__(self, status: int, body: Object | str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status}")
        self.status, self.body, self.headers = status, body, dict(headers or {})


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong with an object. `words` follow the field's name in the message."""

    field: str
    words: str
    reason: str = "FieldValueInvalid"


@dataclass(frozen=True, slots=True)
class Named:
    """What a refusal is about: a resource as its group and its plural, and the object's name where there is one."""

    group: str
    plural: str
    name: str = ""

    @property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def details(self) -> Object:
        named = {"name": self.name, "group": self.group, "kind": self.plural}
        return {key: value for key, value in named.items() if value}


def status(code: int, reason: str, message: str, details: Object | None = None) -> Object:
    """A Status of failure."""
    body: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    if reason:
        body["reason"] = reason
    if details is not None:
        body["details"] = details
    return {**body, "code": code}


def done(about: Named, uid: str) -> Object:
    """The Status that a delete answers with."""
    details = {**about.details(), "uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def unauthorized() -> RefusedError:
    return RefusedError(401, status(401, "Unauthorized", "Unauthorized"))


def forbidden(user: str, verb: str, about: Named, namespace: str, subresource: str = "") -> RefusedError:
    named = f'{about.qualified} "{about.name}"' if about.name else about.qualified
    resource = f"{about.plural}/{subresource}" if subresource else about.plural
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    message = f'{named} is forbidden: User "{user}" cannot {verb} resource "{resource}" in API group "{about.group}" {where}'
    return RefusedError(403, status(403, "Forbidden", message, about.details()))


def not_found(about: Named) -> RefusedError:
    return RefusedError(404, status(404, "NotFound", f'{about.qualified} "{about.name}" not found', about.details()))


def no_such_path() -> RefusedError:
    return RefusedError(404, status(404, "NotFound", "the server could not find the requested resource", {}))


def method_not_allowed() -> RefusedError:
    message = "the server does not allow this method on the requested resource"
    return RefusedError(405, status(405, "MethodNotAllowed", message, {}))


def already_exists(about: Named) -> RefusedError:
    message = f'{about.qualified} "{about.name}" already exists'
    return RefusedError(409, status(409, "AlreadyExists", message, about.details()))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(about: Named, why: str = MODIFIED) -> RefusedError:
    message = f'Operation cannot be fulfilled on {about.qualified} "{about.name}": {why}'
    return RefusedError(409, status(409, "Conflict", message, about.details()))


def expired(message: str) -> RefusedError:
    return RefusedError(410, status(410, "Expired", message))


def too_large(limit: int) -> RefusedError:
    message = f"Request entity too large: limit is {limit}"
    return RefusedError(413, status(413, "RequestEntityTooLarge", message))


def unsupported_media(accepted: Sequence[str]) -> RefusedError:
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return RefusedError(415, status(415, "UnsupportedMediaType", message))


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> RefusedError:
    said = [f"{cause.field}: {cause.words}" for cause in causes]
    told = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    qualified = f"{kind}.{group}" if group else kind
    named = {"name": name, "group": group, "kind": kind}
    details: Object = {key: value for key, value in named.items() if value}
    details["causes"] = [{"reason": cause.reason, "message": cause.words, "field": cause.field} for cause in causes]
    return RefusedError(422, status(422, "Invalid", f'{qualified} "{name}" is invalid: {told}', details))


def patch_failed() -> RefusedError:
    """A JSON patch that cannot be applied, or whose test failed."""
    message = "the server rejected our request due to an error in our request"
    return RefusedError(422, status(422, "Invalid", message, {}))


def bad_request(message: str) -> RefusedError:
    return RefusedError(400, status(400, "BadRequest", message))


def throttled(seconds: int = 1) -> RefusedError:
    body = status(429, "TooManyRequests", "too many requests, please try again later", {"retryAfterSeconds": seconds})
    return RefusedError(429, body, {"Retry-After": str(seconds)})


def crowded(seconds: int = 1) -> RefusedError:
    """How priority and fairness says it: plain text, no Status."""
    return RefusedError(429, "Too many requests, please try again later.\n", {"Retry-After": str(seconds)})


def failed() -> RefusedError:
    message = "Internal error occurred: etcdserver: leader changed"
    cause = {"causes": [{"message": "etcdserver: leader changed"}]}
    return RefusedError(500, status(500, "InternalError", message, cause))


def unavailable() -> RefusedError:
    return RefusedError(503, status(503, "ServiceUnavailable", "apiserver is shutting down", {"retryAfterSeconds": 1}))


def timed_out() -> RefusedError:
    message = "Timeout: request did not complete within the allotted timeout"
    return RefusedError(504, status(504, "Timeout", message, {}))
