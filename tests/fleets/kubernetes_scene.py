"""A fleet of pods on the Kubernetes double: keyturn's own client on one side, the official one of a person on the other.

Namespace `llm`, Secret `llm-keys`, Deployment `litellm` with two replicas; a pod is ready two seconds after it starts.
Nothing moves but while the fleet waits: its pauses turn the cluster's clock.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from kubernetes import client

from keyturn.delivery.variable_names import Names
from keyturn.fleets.kubernetes import KubernetesFleet
from keyturn.kubernetes.pods import mark_in, name_of
from keyturn.material import KeyMaterial
from keyturn.model import Member, VersionRef
from keyturn.references import resolver
from keyturn.testing.kubernetes_clock import TurnedClock
from keyturn.testing.kubernetes_containers import Behaviour, Played
from keyturn.testing.kubernetes_double import KubernetesDouble
from keyturn.testing.kubernetes_objects import Resource
from keyturn.testing.kubernetes_refusals import Object
from keyturn.testing.kubernetes_workloads import WORKLOADS, Workloads
from keyturn.testing.store_scene import new_key

SPACE, NAME, KEYS = "llm", "litellm", "llm-keys"
DEPLOYMENT = f"deployment/{NAME}"
SELECTOR = "app.kubernetes.io/name=litellm"
LABELS = {"app.kubernetes.io/name": "litellm"}
CREDENTIAL, VARIABLE = "openai-prod", "OPENAI_API_KEY"
NAMES = Names(VARIABLE)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
AUTOSCALERS = Resource("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
apis: Any = client


def rollout_of(key: KeyMaterial, moment: str = "20260101T000000Z") -> str:
    """As Journal.rollout makes it."""
    return f"{key.fingerprint()}.{moment}"


def version_of(key: KeyMaterial) -> VersionRef:
    return VersionRef("", key.fingerprint())


def container(**more: Any) -> dict[str, Any]:
    whole = {
        "name": "litellm",
        "image": "local/litellm",
        "envFrom": [{"secretRef": {"name": KEYS}}],
        "readinessProbe": {"httpGet": {"path": "/health/readiness", "port": 4000}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 15}}},
    }
    return {key: value for key, value in {**whole, **more}.items() if value is not None}


def deployment(
    name: str = NAME, labels: Mapping[str, str] = LABELS, pod: Any = None, annotations: Any = None, **spec: Any
) -> dict[str, Any]:
    whole = {
        "replicas": 2,
        "progressDeadlineSeconds": 60,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": dict(labels)},
        "template": {
            "metadata": {"labels": dict(labels), **({"annotations": annotations} if annotations else {})},
            "spec": {"terminationGracePeriodSeconds": 90, "containers": [container()], **(pod or {})},
        },
    }
    metadata = {"name": name, "labels": dict(labels)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {**whole, **spec}}


@dataclass
class Scene:
    """`refused`: fingerprints of keys with which no pod becomes ready. `ends_after`: seconds that a pod takes to end.

    `uids`: of every pod that there ever was. `loaded`: pod -> the fingerprint of what its container started with last.
    `meanwhile`: called at each pause of the fleet.
    """

    double: KubernetesDouble
    clock: TurnedClock
    workloads: Workloads
    apps: Any
    core: Any
    key: KeyMaterial
    refused: set[str] = field(default_factory=set)
    ends_after: float = 0.0
    uids: set[str] = field(default_factory=set)
    loaded: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    fleets: list[KubernetesFleet] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def fleet(self, token: str | None = None, variables: Names | None = NAMES, **settings: Any) -> KubernetesFleet:
        made = {
            "server": self.double.url,
            "token": "env:TOKEN",
            "namespace": SPACE,
            "selector": SELECTOR,
            "poll_interval": "1s",
            "master_key": "env:MASTER",
            **settings,
        }
        self.fleets.append(
            KubernetesFleet(
                KubernetesFleet.Settings.model_validate(made),
                resolver(environ={"TOKEN": token or self.double.admin_token}),
                lambda _: variables,
                pause=self.pause,
                now=lambda: self.clock().timestamp(),
            )
        )
        return self.fleets[-1]

    async def pause(self, seconds: float) -> None:
        self.meanwhile()
        self.turn(seconds)

    def turn(self, seconds: float) -> None:
        self.workloads.turn(self.clock, seconds, tick=1.0)

    async def replace(self, key: KeyMaterial, rollout: str = "", workload: str = DEPLOYMENT, **fleet: Any) -> None:
        """One roll, by a fleet that knows nothing but the cluster."""
        await self.fleet(**fleet).replace(workload, CREDENTIAL, version_of(key), rollout or rollout_of(key), self.proved)

    async def proved(self, member: Member) -> None:
        self.asked.append(member.name.removeprefix("pod "))

    def set_key(self, key: KeyMaterial | str, name: str = KEYS) -> None:
        text = key if isinstance(key, str) else key.reveal()
        body = {"data": {VARIABLE: base64.b64encode(text.encode()).decode()}}
        self.core.patch_namespaced_secret(name, SPACE, body)

    def patch(self, sent: Any, name: str = NAME) -> Any:
        return self.apps.patch_namespaced_deployment(name, SPACE, sent)

    def read(self, name: str = NAME) -> dict[str, Any]:
        return self.plain(self.apps.read_namespaced_deployment(name, SPACE))

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.plain(self.core.list_namespaced_pod(SPACE))["items"]
        return found

    def names(self) -> set[str]:
        return {name_of(pod) for pod in self.pods()}

    def marks(self) -> set[str]:
        return {mark_in(pod, CREDENTIAL) for pod in self.pods()}

    def plain(self, answer: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.apps.api_client.sanitize_for_serialization(answer)
        return found

    def behaves(self, pod: Object, environment: Mapping[str, str]) -> Behaviour:
        self.uids.add(pod["metadata"]["uid"])
        text = environment.get(VARIABLE, "")
        self.loaded[name_of(pod)] = KeyMaterial(text).fingerprint() if text else ""
        bad = not text or self.loaded[name_of(pod)] in self.refused
        return Behaviour(ready_after=None if bad else 2.0, ends_after=self.ends_after)


@asynccontextmanager
async def scene(made: Any = None, nodes: int = 2) -> AsyncIterator[Scene]:
    """`made`: what stands there beside the Secret; by default one Deployment, all of whose pods are ready."""
    clock = TurnedClock()
    with KubernetesDouble(namespaces=[SPACE, "other"], further=(*WORKLOADS, CONFIG_MAPS, AUTOSCALERS), now=clock) as double:
        runtime = Played(clock)
        way_in = client.Configuration(host=double.url)
        way_in.api_key["BearerToken"] = f"Bearer {double.admin_token}"
        with client.ApiClient(way_in) as api:
            workloads = Workloads(double.cluster, runtime, [f"node-{number}" for number in range(nodes)])
            found = Scene(double, clock, workloads, apis.AppsV1Api(api), apis.CoreV1Api(api), new_key())
            runtime.behaves = found.behaves
            found.core.create_namespaced_secret(
                SPACE, {"metadata": {"name": KEYS}, "stringData": {VARIABLE: found.key.reveal()}}
            )
            for each in made if made is not None else [deployment()]:
                create = getattr(found.apps, f"create_namespaced_{_snake(each['kind'])}")
                create(SPACE, each)
            found.turn(6)
            try:
                yield found
            finally:
                for fleet in found.fleets:
                    await fleet.aclose()


def _snake(kind: str) -> str:
    return {"Deployment": "deployment", "StatefulSet": "stateful_set", "DaemonSet": "daemon_set"}[kind]
