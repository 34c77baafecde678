"""The scene of the recordings, played on the Kubernetes double: a Deployment that is made, and restarted three times.

Namespace `llm`, secret `llm-keys`, Deployment `litellm` with two replicas. Its pod is ready a second after its start, unless
its key is `bad`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kubernetes import client

from keyturn.testing.kubernetes_clock import TurnedClock
from keyturn.testing.kubernetes_containers import Behaviour, Played
from keyturn.testing.kubernetes_double import KubernetesDouble
from keyturn.testing.kubernetes_refusals import Object
from keyturn.testing.kubernetes_workloads import WORKLOADS, Workloads

SPACE, NAME, KEYS = "llm", "litellm", "llm-keys"
RESTARTED = "kubectl.kubernetes.io/restartedAt"
apis: Any = client


def deployment(**spec: Any) -> dict[str, Any]:
    """That of the recordings, and what else of its spec."""
    container = {
        "name": "litellm",
        "image": "local/litellm",
        "command": ["python3", "app.py"],
        "envFrom": [{"secretRef": {"name": KEYS}}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 4000}},
    }
    whole = {
        "replicas": 2,
        "progressDeadlineSeconds": 8,
        "minReadySeconds": 1,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": {"app": "l"}},
        "template": {
            "metadata": {"labels": {"app": "l"}},
            "spec": {"terminationGracePeriodSeconds": 5, "containers": [container]},
        },
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME}, "spec": {**whole, **spec}}


def unless_bad(_pod: Object, environment: Mapping[str, str]) -> Behaviour:
    return Behaviour(ready_after=None if environment["API_KEY"] == "bad" else 1.0)


@dataclass
class Scene:
    """The double with its clock, and the clients that a person would have."""

    double: KubernetesDouble
    clock: TurnedClock
    runtime: Played
    workloads: Workloads
    apps: Any
    core: Any

    def create(self, **spec: Any) -> Any:
        self.core.create_namespaced_secret(SPACE, {"metadata": {"name": KEYS}, "stringData": {"API_KEY": "v1"}})
        return self.apps.create_namespaced_deployment(SPACE, deployment(**spec))

    def set_key(self, value: str) -> None:
        self.core.patch_namespaced_secret(KEYS, SPACE, {"stringData": {"API_KEY": value}})

    def restart(self, at: str) -> Any:
        template = {"metadata": {"annotations": {RESTARTED: at}}}
        return self.patch({"spec": {"template": template}})

    def patch(self, sent: Any) -> Any:
        return self.apps.patch_namespaced_deployment(NAME, SPACE, sent)

    def turn(self, seconds: float) -> None:
        self.workloads.turn(self.clock, seconds)

    def read(self) -> dict[str, Any]:
        return self.plain(self.apps.read_namespaced_deployment(NAME, SPACE))

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.plain(self.core.list_namespaced_pod(SPACE))["items"]
        return found

    def plain(self, answer: Any) -> dict[str, Any]:
        """As the recordings were written: absent fields left out."""
        found: dict[str, Any] = self.apps.api_client.sanitize_for_serialization(answer)
        return found

    def progress(self) -> str | None:
        """Why the Deployment is where it is, as its condition Progressing says."""
        there = self.read()["status"].get("conditions", [])
        return next((each["reason"] for each in there if each["type"] == "Progressing"), None)


@contextmanager
def scene() -> Iterator[Scene]:
    clock = TurnedClock()
    with KubernetesDouble(namespaces=[SPACE], further=WORKLOADS, now=clock) as double:
        runtime = Played(clock, unless_bad)
        made = client.Configuration(host=double.url)
        made.api_key["BearerToken"] = f"Bearer {double.admin_token}"
        with client.ApiClient(made) as api:
            workloads = Workloads(double.cluster, runtime, ["mini-0"])
            yield Scene(double, clock, runtime, workloads, apis.AppsV1Api(api), apis.CoreV1Api(api))
