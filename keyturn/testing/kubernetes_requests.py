"""From an HTTP request to the Kubernetes double to what it does: its path, its verb, and who may.

Verbs and paths after the page "Kubernetes API Concepts" ("Resource URIs", "API verbs", "Efficient detection of changes").
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from keyturn.testing import kubernetes_subresources as subresources
from keyturn.testing.kubernetes_access import REVIEWS, Access, Asked, User
from keyturn.testing.kubernetes_metadata import selects
from keyturn.testing.kubernetes_objects import Cluster, Event, Resource
from keyturn.testing.kubernetes_refusals import (
    Named,
    Object,
    RefusedError,
    bad_request,
    done,
    forbidden,
    method_not_allowed,
    no_such_path,
    unsupported_media,
)

VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.2+double", "platform": "linux/amd64"}
_NOT_HERE = ("dryRun", "continue", "sendInitialEvents")
_POLL = 0.01  # seconds between two looks of a watch
_LONGEST_WATCH = 1800.0


@dataclass(frozen=True)
class Call:
    """One request: what is asked for, of what. `resource` is None for reviews and for paths without objects."""

    verb: str
    about: Named
    namespace: str = ""
    subresource: str = ""
    resource: Resource | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.about.name


def parse(cluster: Cluster, method: str, path: str, query: Mapping[str, str]) -> Call:
    """RefusedError (404) for a path that leads nowhere."""
    parts = path.strip("/").split("/")
    if parts[0] in ("version", "readyz", "livez", "healthz"):
        return Call("get", Named("", ""), subresource=parts[0])
    if parts[:2] == ["api", "v1"]:
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3 and parts[2] == "v1":
        group, rest = parts[1], parts[3:]
    else:
        raise no_such_path()
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    if not rest or not rest[0] or len(rest) > 3:
        raise no_such_path()
    plural, name, subresource = (*rest, "", "")[:3]
    resource = cluster.resources.get((group, plural))
    if resource is None and (plural not in REVIEWS or REVIEWS[plural][1] != group):
        raise no_such_path()
    verb = _verb(method, name, query)
    if resource is not None and resource.namespaced != bool(namespace) and verb not in ("list", "watch"):
        raise no_such_path()
    return Call(verb, Named(group, plural, name), namespace, subresource, resource, query)


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    if method == "GET":
        return "get" if name else "watch" if query.get("watch") in ("1", "true") else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    verbs = {"POST": "create", "PUT": "update", "PATCH": "patch"}
    if method not in verbs or (verbs[method] != "create" and not name):
        raise method_not_allowed()
    return verbs[method]


def answer(cluster: Cluster, access: Access, user: User, call: Call, request: Request, raw: bytes) -> Response:
    """RefusedError where it is refused."""
    if not call.about.plural:
        return JSONResponse(VERSION) if call.subresource == "version" else Response("ok")
    name = call.name or _name_selected(call.query)
    asked = Asked(call.verb, call.about.group, call.about.plural, call.namespace, name, call.subresource)
    if not access.allows(user, asked):
        raise forbidden(
            user.name, call.verb, Named(call.about.group, call.about.plural, name), call.namespace, call.subresource
        )
    for parameter in _NOT_HERE:
        if parameter in call.query:
            raise bad_request(f"this double does not know {parameter}")
    if call.resource is None:
        if call.verb != "create":
            raise method_not_allowed()
        return JSONResponse(access.review(call.about.plural, user, _object(request, raw)), 201)
    if call.subresource:
        return _below(cluster, access, call.resource, call, request, raw)
    return _on_objects(cluster, call.resource, call, request, raw)


def _on_objects(cluster: Cluster, resource: Resource, call: Call, request: Request, raw: bytes) -> Response:
    space, name = call.namespace, call.name
    match call.verb:
        case "get":
            return JSONResponse(cluster.get(resource, space, name))
        case "list":
            return JSONResponse(_list(cluster, resource, call))
        case "watch":
            if not call.query.get("resourceVersion", "0").isdecimal():
                raise bad_request("invalid resource version")
            return StreamingResponse(_watch(cluster, resource, call), media_type="application/json")
        case "create":
            if name:
                raise method_not_allowed()
            return JSONResponse(cluster.create(resource, space, _object(request, raw)), 201)
        case "update":
            return JSONResponse(cluster.update(resource, space, name, _object(request, raw)))
        case "patch":
            return JSONResponse(cluster.patch(resource, space, name, _type(request), _json(raw)))
        case "delete":
            last = cluster.get(resource, space, name)
            left = cluster.delete(resource, space, name, _delete_options(call, request, raw))
            gone = last if resource.tells_last else done(resource.named(name), last["metadata"]["uid"])
            return JSONResponse(left or gone)
    raise method_not_allowed()


def _below(cluster: Cluster, access: Access, resource: Resource, call: Call, request: Request, raw: bytes) -> Response:
    space, name, below = call.namespace, call.name, call.subresource
    match call.verb:
        case "get":
            return JSONResponse(subresources.read(cluster, resource, space, name, below))
        case "create":
            sent = _object(request, raw)
            return JSONResponse(subresources.create(cluster, access, resource, space, name, below, sent), 201)
        case "update":
            return JSONResponse(subresources.write(cluster, resource, space, name, below, None, _object(request, raw)))
        case "patch":
            return JSONResponse(subresources.write(cluster, resource, space, name, below, _type(request), _json(raw)))
    raise method_not_allowed()


def _type(request: Request) -> str:
    return str(request.headers.get("content-type", "")).partition(";")[0].strip()


def _delete_options(call: Call, request: Request, raw: bytes) -> Object:
    """Of the body, or of the query, as clients send either."""
    options = _object(request, raw) if raw else {}
    seconds = call.query.get("gracePeriodSeconds", "0")
    if not seconds.isdecimal():
        raise bad_request("invalid grace period")
    if "gracePeriodSeconds" in call.query:
        options = {**options, "gracePeriodSeconds": int(seconds)}
    if "Orphan" in (options.get("propagationPolicy"), call.query.get("propagationPolicy")):
        raise bad_request("this double does not know the propagation policy Orphan")
    return options


def _object(request: Request, raw: bytes) -> Object:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind != "application/json":
        raise unsupported_media(["application/json"])
    found = _json(raw)
    if not isinstance(found, dict):
        raise bad_request("the body is no object")
    return found


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        pass
    raise bad_request(
        "the object provided is unrecognized (must be of type Object): couldn't get version/kind; json parse error"
    )


def _name_selected(query: Mapping[str, str]) -> str:
    selector = query.get("fieldSelector", "")
    if not selector:
        return ""
    field_name, _, name = selector.partition("=")
    if field_name != "metadata.name" or "," in selector:
        raise bad_request("this double knows the field selector metadata.name alone")
    return name.removeprefix("=")


def _chosen(call: Call, each: Object) -> bool:
    name, metadata = _name_selected(call.query), each["metadata"]
    if name not in ("", metadata["name"]) or call.namespace not in ("", metadata.get("namespace", "")):
        return False
    try:
        return selects(call.query.get("labelSelector", ""), metadata.get("labels") or {})
    except ValueError:
        pass
    raise bad_request("unable to parse requirement: found something unexpected in the label selector")


def _list(cluster: Cluster, resource: Resource, call: Call) -> Object:
    objects, number = cluster.list(resource, call.namespace)
    named = ("kind", "apiVersion")
    items = [{key: value for key, value in each.items() if key not in named} for each in objects if _chosen(call, each)]
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": {"resourceVersion": str(number)},
        "items": items,
    }


async def _watch(cluster: Cluster, resource: Resource, call: Call) -> AsyncIterator[bytes]:
    """One event a line. What leaves the selection is DELETED, and what comes into it ADDED."""
    wanted = call.query.get("resourceVersion", "")
    seconds = min(float(call.query.get("timeoutSeconds") or _LONGEST_WATCH), _LONGEST_WATCH)
    if int(wanted or 0) == 0:
        objects, since = cluster.list(resource, call.namespace)
        for each in objects:
            if _chosen(call, each):
                yield _line("ADDED", each)
    else:
        since = int(wanted)
    ends = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < ends:
        try:
            events = list(cluster.events(resource, since))
        except RefusedError as error:
            yield _line("ERROR", error.body)
            return
        for event in events:
            since = event.number
            if (kind := _seen_as(call, event)) is not None:
                yield _line(kind, event.after)
        await asyncio.sleep(_POLL)


def _seen_as(call: Call, event: Event) -> str | None:
    is_in = event.kind != "DELETED" and _chosen(call, event.after)
    was_in = event.before is not None and _chosen(call, event.before)
    if is_in:
        return "MODIFIED" if was_in else "ADDED"
    return "DELETED" if was_in else None


def _line(kind: str, what: Any) -> bytes:
    return json.dumps({"type": kind, "object": what}).encode() + b"\n"
