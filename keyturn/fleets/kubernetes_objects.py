"""The workloads of a fleet and their pods, as a cluster has them: read anew at each call, never remembered."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from keyturn.errors import MisconfiguredError, RollFailedError, UnavailableError
from keyturn.json_object import UnreadableError, inside, mapping, plain_id
from keyturn.kubernetes.access import Wanted
from keyturn.kubernetes.answer import Answer
from keyturn.kubernetes.client import KubernetesClient
from keyturn.kubernetes.given import Place
from keyturn.kubernetes.pods import is_there, name_of, owner_of
from keyturn.kubernetes.rollout import Kind

Object = dict[str, Any]
GROUP = "apps"
_MERGE_PATCH = "application/merge-patch+json"


class NotThereError(UnavailableError):
    """A Secret that a container cannot start without. It may come."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One of them, as it was read."""

    kind: Kind
    content: Object

    @property
    def name(self) -> str:
        """As it is called everywhere: `deployment/NAME`."""
        return f"{self.kind.value.lower()}/{name_of(self.content)}"

    @property
    def template(self) -> Object:
        return mapping(inside(self.content, "spec", "template") or {})


@dataclass(frozen=True, slots=True)
class Look:
    """The fleet at one moment. `pods`: of each workload, by its name. `strangers`: pods with the fleet's labels that none of
    the workloads keeps."""

    workloads: Sequence[Workload]
    pods: Mapping[str, Sequence[Object]]
    strangers: Sequence[Object]


class Objects:
    """Permissions needed: `list`, `get`, `patch` of the kinds; `list`, `get` of pods; `get` of their Secrets."""

    def __init__(self, client: KubernetesClient, namespace: str, selector: str, kinds: Sequence[Kind]) -> None:
        self._client, self._namespace, self._selector = client, namespace, selector
        self.kinds = tuple(kinds)

    async def workloads(self) -> Sequence[Workload]:
        """By kind, then by name. MisconfiguredError where there is none."""
        found = [
            Workload(kind, each)
            for kind in self.kinds
            for each in sorted(await self._list(GROUP, kind.plural, self._selector), key=name_of)
        ]
        if not found:
            kinds = ", ".join(kind.value for kind in self.kinds)
            raise MisconfiguredError(
                f"no workload in the namespace {self._namespace} has the labels {self._selector} (looked at: {kinds})",
                remedy="check namespace and selector: `kubectl -n NAMESPACE get deployments -l SELECTOR`",
            )
        return found

    async def workload(self, name: str) -> Workload:
        """By `deployment/NAME`. RollFailedError where it is gone."""
        kind, plain = self._parsed(name)
        answer = await self._client.request("GET", self._path(GROUP, kind.plural, plain), self.wanted("get", name))
        if answer.status == 404:
            raise RollFailedError(f"{name} is gone", remedy="look who has deleted it")
        return Workload(kind, self._object(answer, plain))

    async def annotate(self, workload: Workload, name: str, value: str | None) -> bool:
        """Change this annotation of its pod template (None drops it), and nothing else, if it is as it was read.

        False: it is not, or it is gone.
        """
        metadata = workload.content["metadata"]
        body = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {"template": {"metadata": {"annotations": {name: value}}}},
        }
        path = self._path(GROUP, workload.kind.plural, metadata["name"])
        answer = await self._client.request("PATCH", path, self.wanted("patch", workload.name), body, _MERGE_PATCH)
        return answer.status == 200

    async def pods(self, workload: Workload, others: Collection[tuple[str, str]] = ()) -> Sequence[Object]:
        """All that its selector finds, but those that one of the `others` (kind, name) keeps, whose labels may be more than
        its own."""
        found = await self._list("", "pods", _selector_of(workload))
        mine = (workload.kind.value, name_of(workload.content))
        return [pod for pod in found if owner_of(pod) == mine or owner_of(pod) not in others]

    async def look(self) -> Look:
        workloads = await self.workloads()
        names = names_of(workloads)
        pods = {each.name: await self.pods(each, names) for each in workloads}
        known = {name_of(pod) for found in pods.values() for pod in found}
        others = await self._list("", "pods", self._selector)
        # A Job's pods serve nobody: LiteLLM's charts migrate the database by one.
        strangers = [each for each in others if is_there(each) and name_of(each) not in known and owner_of(each)[0] != "Job"]
        return Look(workloads, pods, strangers)

    async def autoscalers(self) -> Sequence[Object]:
        """All of the namespace: they are found by what they scale, and not by labels."""
        return await self._list("autoscaling", "horizontalpodautoscalers", "")

    async def pod(self, name: str) -> Object | None:
        answer = await self._client.request("GET", self._path("", "pods", name), self._of("get", "", "pods", name))
        return None if answer.status == 404 else self._object(answer, name)

    async def keeper_of(self, pod: Object) -> Workload | None:
        """The workload that keeps it; None where that is none of these kinds."""
        kind, name = owner_of(pod)
        if kind not in self.kinds or not name:
            return None
        try:
            return await self.workload(f"{kind.lower()}/{name}")
        except RollFailedError:
            return None

    async def text(self, place: Place) -> str | None:
        """What stands there, as a container would be given it; None: nothing. NotThereError where what must be is not."""
        path = self._path("", place.resource, place.name)
        answer = await self._client.request("GET", path, self.given(place))
        if answer.status == 404:
            if place.must_be:
                raise NotThereError(f"there is no {place.kind} {self._namespace}/{place.name}")
            return None
        data = inside(self._object(answer, place.name), "data", place.key)
        if not isinstance(data, str):
            return None
        return data if place.kind == "ConfigMap" else _decoded(data)

    async def content(self, place: Place) -> Object:
        """The object itself; empty where there is none."""
        path = self._path("", place.resource, place.name)
        answer = await self._client.request("GET", path, self.given(place))
        return {} if answer.status == 404 else self._object(answer, place.name)

    def wanted(self, verb: str, name: str) -> Wanted:
        kind, plain = self._parsed(name)
        return self._of(verb, GROUP, kind.plural, plain)

    def given(self, place: Place) -> Wanted:
        return self._of("get", "", place.resource, place.name)

    def listed(self) -> Sequence[Wanted]:
        """What is listed, and of pods read one by one."""
        lists = [self._of("list", GROUP, kind.plural, "") for kind in self.kinds]
        return [*lists, *(self._of(verb, "", "pods", "") for verb in ("list", "get"))]

    def _of(self, verb: str, group: str, resource: str, name: str) -> Wanted:
        return Wanted(verb, self._namespace, name, resource, group)

    def _parsed(self, name: str) -> tuple[Kind, str]:
        kind, _, plain = name.partition("/")
        for each in Kind:
            if each.value.lower() == kind and plain:
                return each, plain
        raise MisconfiguredError(f"{name} is no name of a workload", remedy="they are called deployment/NAME and the like")

    def _path(self, group: str, plural: str, name: str = "") -> str:
        api = f"/apis/{group}/v1" if group else "/api/v1"
        return f"{api}/namespaces/{self._namespace}/{plural}" + (f"/{quote(name, safe='')}" if name else "")

    async def _list(self, group: str, plural: str, selector: str) -> Sequence[Object]:
        path = self._path(group, plural) + (f"?labelSelector={quote(selector, safe='')}" if selector else "")
        answer = await self._client.request("GET", path, self._of("list", group, plural, ""))
        items = answer.body.get("items")
        try:
            if answer.status == 200 and isinstance(items, list):
                return [_checked(each) for each in items]
        except UnreadableError:
            pass
        raise self._client.not_kubernetes()

    def _object(self, answer: Answer, name: str) -> Object:
        try:
            found = _checked(dict(answer.body))
            if answer.status == 200 and name_of(found) == name:
                return found
        except UnreadableError:
            pass
        raise self._client.not_kubernetes()


def names_of(workloads: Sequence[Workload]) -> frozenset[tuple[str, str]]:
    return frozenset((each.kind.value, name_of(each.content)) for each in workloads)


def _checked(found: Any) -> Object:
    """UnreadableError for what is no object of an API server's."""
    metadata = mapping(mapping(found).get("metadata"))
    plain_id(metadata.get("name"), longest=253)
    plain_id(metadata.get("resourceVersion"))
    if not isinstance(metadata.get("annotations"), dict | None):
        raise UnreadableError
    return mapping(found)


def _selector_of(workload: Workload) -> str:
    """Its own selector, as a list takes it ("Labels and Selectors")."""
    selector = inside(workload.content, "spec", "selector") or {}
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for each in selector.get("matchExpressions") or []:
        key, values = each.get("key"), ",".join(each.get("values") or [])
        match each.get("operator"):
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(f"{key}")
            case "DoesNotExist":
                parts.append(f"!{key}")
    return ",".join(parts)


def _decoded(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
