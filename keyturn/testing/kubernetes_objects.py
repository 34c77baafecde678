"""What a Kubernetes API server keeps: objects, one counter of versions for all of them, and what happened to them.

After the pages "Kubernetes API Concepts" (kubernetes.io/docs/reference/using-api/api-concepts) and the API conventions:

- `resourceVersion` is one counter over every object. An update that names another one than the object's is a Conflict; one
  that names none is taken whatever stands there. **One that changes nothing writes nothing, and the version stays.**
- `uid` is new for each object, also under a name that was there before.
- An object with finalizers is only marked by a delete, and goes when the last of them is taken off.
- What happened is kept for a while: a watch that asks for longer ago is told 410 Expired.

A further kind of object is one more `Resource`, in a file of its own.
"""

from __future__ import annotations

import json
import marshal
import secrets
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from keyturn.testing import kubernetes_metadata
from keyturn.testing.kubernetes_clock import stamp
from keyturn.testing.kubernetes_metadata import UndecodableError
from keyturn.testing.kubernetes_patches import METADATA_KEYS, MergeKeys, patched
from keyturn.testing.kubernetes_refusals import (
    Cause,
    Named,
    Object,
    RefusedError,
    already_exists,
    bad_request,
    conflict,
    expired,
    invalid,
    not_found,
    status,
)

T = TypeVar("T")
_REMEMBERED = 10_000  # events
RANDOM = "bcdfghjklmnpqrstvwxz2456789"  # what names are made of by the server


def _copied(value: T) -> T:
    """A copy of what JSON has: many times faster than `copy.deepcopy`, and every look of a controller takes some."""
    plain: Any = value
    found: T = marshal.loads(marshal.dumps(plain))
    return found


def _as_it_is(new: Object, old: Object | None) -> Object:
    return new


def _at_once(old: Object, options: Object) -> int:
    return 0


def _nothing_wrong(new: Object, old: Object | None) -> Iterable[Cause]:
    return ()


@dataclass(frozen=True)
class Resource:
    """One kind of object, and the rules that only it has.

    `decoded`: its known fields, in canonical form; UndecodableError. `prepared`: with its defaults, and its generation
    (the old object is None at a create). `causes`: what is wrong with it. `merge_keys`: see kubernetes_patches.
    `grace`: for how many seconds one that is deleted with these options is only marked; 0: it goes at once. `tells_last`:
    a delete is answered with the object as it was last, instead of a Status.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    label_name: bool = False
    decoded: Callable[[Object], Object] = lambda sent: sent
    prepared: Callable[[Object, Object | None], Object] = _as_it_is
    causes: Callable[[Object, Object | None], Iterable[Cause]] = _nothing_wrong
    merge_keys: MergeKeys = field(default_factory=lambda: METADATA_KEYS)
    grace: Callable[[Object, Object], int] = _at_once
    tells_last: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def named(self, name: str = "") -> Named:
        return Named(self.group, self.plural, name)


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to one object. `before`: as it stood until then."""

    number: int
    resource: Resource
    kind: str  # ADDED | MODIFIED | DELETED
    after: Object
    before: Object | None


Place = tuple[str, str]  # namespace ("" where there is none), name


class Cluster:
    """The objects. Every method is one step for everybody else. What it gives is a copy."""

    def __init__(self, resources: Iterable[Resource], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.resources = {(each.group, each.plural): each for each in resources}
        self.number = 1
        self.now = now
        self._lock = threading.RLock()
        self._objects: dict[tuple[str, str], dict[Place, Object]] = {key: {} for key in self.resources}
        self._events: deque[Event] = deque(maxlen=_REMEMBERED)
        self._forgotten = 0  # the last number whose events are gone

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        with self._lock:
            return _copied(self._there(resource, namespace, name))

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        with self._lock:
            return _copied(self._of(resource).get((namespace, name)))

    def list(self, resource: Resource, namespace: str = "") -> tuple[list[Object], int]:
        """The objects by name, of one namespace or of all, and the number at which they stood so."""
        with self._lock:
            there = sorted(self._of(resource).items())
            return [_copied(each) for (space, _), each in there if namespace in ("", space)], self.number

    def create(self, resource: Resource, namespace: str, sent: Object) -> Object:
        with self._lock:
            new = self._decoded(resource, namespace, sent)
            metadata = new["metadata"]
            if metadata.get("resourceVersion"):
                raise RefusedError(500, status(500, "", "resourceVersion should not be set on objects to be created"))
            if not metadata.get("name") and metadata.get("generateName"):
                metadata["name"] = metadata["generateName"] + "".join(secrets.choice(RANDOM) for _ in range(5))
            if resource.namespaced:
                self._require_namespace(namespace)
            own = {"uid": str(uuid.uuid4()), "creationTimestamp": self._time()}
            metadata = {key: each for key, each in kubernetes_metadata.carried(metadata, {}).items() if each is not None}
            new = resource.prepared({**new, "metadata": {**metadata, **own}}, None)
            self._require_valid(resource, new, None)
            name = metadata["name"]
            if (namespace, name) in self._of(resource):
                raise already_exists(resource.named(name))
            return self._write(resource, namespace, new, None)

    def update(self, resource: Resource, namespace: str, name: str, sent: Object) -> Object:
        with self._lock:
            new = self._decoded(resource, namespace, sent)
            if new["metadata"].get("name", name) != name:
                other = new["metadata"]["name"]
                raise bad_request(f"the name of the object ({other}) does not match the name on the URL ({name})")
            return self._replace(resource, namespace, self._there(resource, namespace, name), new)

    def patch(self, resource: Resource, namespace: str, name: str, kind: str, patch: Any) -> Object:
        """A patch that names no version is made upon whatever stands there."""
        with self._lock:
            old = self._there(resource, namespace, name)
            merged = patched(old, kind, patch, resource.merge_keys)
            try:
                new = self._known(resource, merged)
            except UndecodableError as error:
                # So the real server says it: with the whole object in the message.
                words = f'Invalid value: "{json.dumps(merged)}": {error}'
                raise invalid("", "", "", [Cause("patch", words)]) from None
            return self._replace(resource, namespace, old, new)

    def write_parts(self, resource: Resource, seen: Object, parts: Object) -> Object:
        """What controllers write: parts of an object as they have seen it, with no defaults and no new generation.

        RefusedError: it is gone (404), or has changed since (409).
        """
        with self._lock:
            metadata = seen["metadata"]
            namespace, name = metadata.get("namespace", ""), metadata["name"]
            old = self._there(resource, namespace, name)
            if any(old["metadata"][each] != metadata[each] for each in ("uid", "resourceVersion")):
                raise conflict(resource.named(name))
            new = {**old, **parts}
            return _copied(old) if new == old else self._write(resource, namespace, new, old)

    def delete(self, resource: Resource, namespace: str, name: str, options: Object | None = None) -> Object | None:
        """None: it is gone. The object: it is marked, and waits for its finalizers, or for whoever ends it."""
        with self._lock:
            old = self._there(resource, namespace, name)
            self._require_preconditions(resource, old, (options or {}).get("preconditions") or {})
            grace = resource.grace(old, options or {})
            if old["metadata"].get("finalizers") or grace > 0:
                had = old["metadata"]
                if "deletionTimestamp" in had and grace >= had["deletionGracePeriodSeconds"]:
                    return _copied(old)
                marks = {"deletionTimestamp": self._time(grace), "deletionGracePeriodSeconds": grace}
                if "deletionTimestamp" not in had and "generation" in had:
                    marks["generation"] = had["generation"] + 1
                return self._write(resource, namespace, {**old, "metadata": {**old["metadata"], **marks}}, old)
            self._remove(resource, namespace, old)
            return None

    def events(self, resource: Resource, since: int) -> Iterator[Event]:
        """What happened to objects of this kind after that number. RefusedError (410) where it is no longer known."""
        with self._lock:
            if since < self._forgotten:
                raise expired(f"too old resource version: {since} ({self._forgotten + 1})")
            return iter([each for each in self._events if each.number > since and each.resource is resource])

    def forget(self) -> None:
        """Compact: no watch may begin before now."""
        with self._lock:
            self._events.clear()
            self._forgotten = self.number

    def clear(self) -> None:
        """No objects any more. The counter goes on."""
        with self._lock:
            for there in self._objects.values():
                there.clear()
            self.forget()

    def _of(self, resource: Resource) -> dict[Place, Object]:
        return self._objects[resource.group, resource.plural]

    def _there(self, resource: Resource, namespace: str, name: str) -> Object:
        found = self._of(resource).get((namespace, name))
        if found is None:
            raise not_found(resource.named(name))
        return found

    def _known(self, resource: Resource, sent: Object) -> Object:
        named = {"kind": resource.kind, "apiVersion": resource.api_version}
        return {**named, **resource.decoded(sent), "metadata": kubernetes_metadata.decoded(sent.get("metadata"))}

    def _decoded(self, resource: Resource, namespace: str, sent: Object) -> Object:
        wanted = {"kind": resource.kind, "apiVersion": resource.api_version}
        for name, value in wanted.items():
            if sent.get(name, value) != value:
                raise bad_request(f'{resource.kind} in version "{resource.version}" cannot be handled: {name} differs')
        try:
            new = self._known(resource, sent)
        except UndecodableError as error:
            kind = resource.kind
            raise bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {error}') from None
        if new["metadata"].get("namespace", namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if resource.namespaced:
            new["metadata"]["namespace"] = namespace
        return new

    def _replace(self, resource: Resource, namespace: str, old: Object, new: Object) -> Object:
        about, had = resource.named(old["metadata"]["name"]), old["metadata"]
        if new["metadata"].get("uid", had["uid"]) != had["uid"]:
            raise conflict(
                about,
                f"Precondition failed: UID in precondition: {new['metadata']['uid']}, UID in object meta: {had['uid']}",
            )
        if new["metadata"].get("resourceVersion", had["resourceVersion"]) not in ("", had["resourceVersion"]):
            raise conflict(about)
        metadata = kubernetes_metadata.carried(new["metadata"], had)
        metadata |= {name: had[name] for name in ("name", "namespace", "resourceVersion") if name in had}
        new = resource.prepared({**new, "metadata": metadata}, old)
        self._require_valid(resource, new, old)
        if new == old:
            return _copied(old)
        if had.get("deletionGracePeriodSeconds") == 0 and not metadata.get("finalizers"):
            self._remove(resource, namespace, new)
            return _copied(new)
        return self._write(resource, namespace, new, old)

    def _write(self, resource: Resource, namespace: str, new: Object, old: Object | None) -> Object:
        self.number += 1
        metadata = {**new["metadata"], "resourceVersion": str(self.number)}
        kept: Object = _copied({**new, "metadata": metadata})
        self._of(resource)[namespace, metadata["name"]] = kept
        self._happened(Event(self.number, resource, "MODIFIED" if old else "ADDED", kept, old))
        return _copied(kept)

    def _remove(self, resource: Resource, namespace: str, last: Object) -> None:
        name = last["metadata"]["name"]
        before = self._of(resource).pop((namespace, name))
        self.number += 1
        gone = {**last, "metadata": {**last["metadata"], "resourceVersion": str(self.number)}}
        self._happened(Event(self.number, resource, "DELETED", gone, before))
        if (resource.group, resource.plural) == ("", "namespaces"):
            self._empty(name)

    def _empty(self, namespace: str) -> None:
        """A namespace goes with all that is in it; here at once, finalizers or not."""
        for key, there in self._objects.items():
            for place in [place for place in there if place[0] == namespace]:
                self._remove(self.resources[key], namespace, there[place])

    def _happened(self, event: Event) -> None:
        if len(self._events) == _REMEMBERED:
            self._forgotten = self._events[0].number
        self._events.append(event)

    def _require_namespace(self, namespace: str) -> None:
        spaces = self.resources[("", "namespaces")]
        self._there(spaces, "", namespace)

    def _require_valid(self, resource: Resource, new: Object, old: Object | None) -> None:
        causes = [
            *kubernetes_metadata.causes(new["metadata"], label_name=resource.label_name),
            *resource.causes(new, old),
        ]
        if causes:
            raise invalid(resource.kind, resource.group, new["metadata"].get("name", ""), causes)

    def _require_preconditions(self, resource: Resource, old: Object, wanted: Object) -> None:
        about, had = resource.named(old["metadata"]["name"]), old["metadata"]
        if wanted.get("uid", had["uid"]) != had["uid"]:
            raise conflict(
                about,
                f"the UID in the precondition ({wanted['uid']}) does not match the UID in record ({had['uid']}). "
                "The object might have been deleted and then recreated",
            )
        if wanted.get("resourceVersion", had["resourceVersion"]) != had["resourceVersion"]:
            raise conflict(
                about,
                f"the ResourceVersion in the precondition ({wanted['resourceVersion']}) does not match the ResourceVersion "
                f"in record ({had['resourceVersion']}). The object might have been modified",
            )

    def _time(self, later: int = 0) -> str:
        return stamp(self.now() + timedelta(seconds=later))
