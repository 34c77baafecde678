"""The Kubernetes double whose pods are processes, in real time, with the clients that a person would have."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from kubernetes import client

from keyturn.testing.kubernetes_double import KubernetesDouble
from keyturn.testing.kubernetes_processes import ProcessRuntime
from keyturn.testing.kubernetes_workloads import WORKLOADS, Workloads

SPACE, NAME, KEYS = "llm", "litellm", "llm-keys"
PORT = 4000
PROGRAM = [sys.executable, "-S", str(Path(__file__).with_name("pod_program.py")), str(PORT)]
POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
READY = {"httpGet": {"path": "/ready", "port": PORT, "httpHeaders": [{"name": "Probe", "value": "yes"}]}, "periodSeconds": 1}
apis: Any = client


def until(is_so: Callable[[], object], seconds: float = 60) -> None:
    """No test of speed: it only ends at some time."""
    over = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < over, "it did not come to that"
        time.sleep(0.02)


@dataclass
class ProcessScene:
    """`folder`: of the files that pods are told by, and of their logs."""

    double: KubernetesDouble
    workloads: Workloads
    folder: Path
    core: Any
    apps: Any

    def deployment(self, container: dict[str, Any], *, replicas: int = 1, grace: int = 5, **spec: Any) -> Any:
        """One with this container, which runs the program of tests and is asked for nothing but what is told here."""
        env = [POD_IP, {"name": "FOLDER", "value": str(self.folder)}, *container.get("env", [])]
        whole = {"name": "litellm", "image": "test", "command": PROGRAM, **container, "env": env}
        sent = {
            "metadata": {"name": NAME},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": NAME}},
                "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": {
                    "metadata": {"labels": {"app": NAME}},
                    "spec": {"terminationGracePeriodSeconds": grace, "containers": [whole]},
                },
                **spec,
            },
        }
        return self.apps.create_namespaced_deployment(SPACE, sent)

    def restart(self, mark: str) -> None:
        patch = {"spec": {"template": {"metadata": {"annotations": {"mark": mark}}}}}
        self.apps.patch_namespaced_deployment(NAME, SPACE, patch)

    def secret(self, **texts: str) -> None:
        self.core.create_namespaced_secret(SPACE, {"metadata": {"name": KEYS}, "stringData": texts})

    def pods(self) -> list[Any]:
        found: list[Any] = self.core.list_namespaced_pod(SPACE).items
        return found

    def pod(self) -> Any:
        (found,) = self.pods()
        return found

    def container(self) -> Any:
        return self.pod().status.container_statuses[0]

    def progress(self) -> str | None:
        """Why the Deployment is where it is."""
        told = self.apps.read_namespaced_deployment(NAME, SPACE)
        if (told.status.observed_generation or 0) < told.metadata.generation:
            return None
        return next((each.reason for each in told.status.conditions or [] if each.type == "Progressing"), None)

    def until_ready(self, replicas: int = 1) -> None:
        until(lambda: len([pod for pod in self.pods() if is_ready(pod)]) == replicas)

    def notes(self) -> list[str]:
        there = self.folder / "notes"
        return there.read_text().splitlines() if there.exists() else []


def is_ready(pod: Any) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])


def variables(pod: Any) -> dict[str, str]:
    """Those of the pod's program, asked at the pod's own address."""
    found: dict[str, str] = httpx.get(f"http://{pod.status.pod_ip}:{PORT}/env", timeout=30, trust_env=False).json()
    return found


@contextmanager
def process_scene(folder: Path, *, back_off: float = 10.0) -> Iterator[ProcessScene]:
    with (
        KubernetesDouble(namespaces=[SPACE], further=WORKLOADS) as double,
        ProcessRuntime(folder / "logs") as runtime,
    ):
        workloads = Workloads(double.cluster, runtime, back_off=back_off)
        made = client.Configuration(host=double.url)
        made.api_key["BearerToken"] = f"Bearer {double.admin_token}"
        with client.ApiClient(made) as api, workloads.moving():
            yield ProcessScene(double, workloads, folder, apis.CoreV1Api(api), apis.AppsV1Api(api))
