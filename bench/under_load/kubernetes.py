"""The kind `kubernetes`: a Deployment of the double, whose pods are LiteLLM proxies, behind its Service.

The Secret is keyturn's own store. By keyturn the pods have the hook preStop that docs/kubernetes.md asks for; as without it
they have none, as LiteLLM's chart makes them: `undrained` is `kubectl rollout restart`, with one pod more at a time, and
`blind` deletes all pods at once. A Service balances connections and not requests, and what uses one again keeps its pod
for long: so the load opens one for each request. A node knows of a changed pod a second later.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kubernetes import client

from bench.under_load import rotation
from bench.under_load.fleet import BEHAVIOUR, LONG, Way
from keyturn.material import KeyMaterial
from keyturn.testing.embedded import ACCOUNT, PROJECT, READY_SECONDS, Credential, Embedded
from keyturn.testing.kubernetes_balancer import ServiceBalancer
from keyturn.testing.kubernetes_double import KubernetesDouble
from keyturn.testing.kubernetes_objects import Resource
from keyturn.testing.kubernetes_processes import ProcessRuntime
from keyturn.testing.kubernetes_workloads import WORKLOADS, Workloads
from keyturn.testing.litellm import command, write_config

SPACE, NAME, KEYS, PORT = "litellm", "litellm", "llm-keys", 4000
LABELS = {"app.kubernetes.io/name": NAME}
LAG = 1.0  # seconds
GRACE = 120  # seconds
KEY = Credential(
    "openai-prod", "OPENAI_API_KEY", "gpt-4o-mini", {"store": "cluster", "path": KEYS, "field": "OPENAI_API_KEY"}
)
_BESIDE = (
    Resource("", "v1", "configmaps", "ConfigMap"),
    Resource("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
)
_DRAIN = {"preStop": {"sleep": {"seconds": 15}}}
_apis: Any = client


class Pods:
    """One cluster with one Deployment in it."""

    keeps_connections = False

    def __init__(self, folder: Path, way: Way, members: int) -> None:
        self.parts = Embedded(folder, credentials=(KEY,), further_models=(LONG,))
        self.way, self.members = way, members
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        return self._service.url

    @property
    def master_key(self) -> str:
        return self.parts.environ["LITELLM_MASTER_KEY"]

    def start(self) -> None:
        self.parts.start_provider()
        self.parts.tell_provider("behaviour", **BEHAVIOUR)
        self._cluster()
        self.core.create_namespaced_secret(
            SPACE, {"metadata": {"name": KEYS}, "stringData": {KEY.variable: self.parts.first_keys[KEY.name]}}
        )
        self.apps.create_namespaced_deployment(SPACE, self._deployment())
        self._until_done(before=set())
        self._service = self._stack.enter_context(ServiceBalancer(self.double.cluster, SPACE, LABELS, PORT, lag=LAG))

    def turn(self) -> str:
        if self.way is Way.KEYTURN:
            self.parts.config.write_text(json.dumps(self._configuration()))
            rotation.turn(self.parts.config, {**self.parts.environ, "CLUSTER_TOKEN": self.double.admin_token}, KEY.name)
            keys = [key for key in self.parts.provider_keys() if key["accepted"]]
            return str(keys[-1]["fingerprint"])
        made = self.parts.tell_provider("keys", project=PROJECT, name="the next one", account=ACCOUNT)
        self.core.patch_namespaced_secret(KEYS, SPACE, {"stringData": {KEY.variable: made["value"]}})
        before = self._pods()
        if self.way is Way.BLIND:
            for name in before.values():
                self.core.delete_namespaced_pod(name, SPACE)
        else:
            mark = {"kubectl.kubernetes.io/restartedAt": "once"}
            patch = {"spec": {"template": {"metadata": {"annotations": mark}}}}
            self.apps.patch_namespaced_deployment(NAME, SPACE, patch)
        self._until_done(set(before))
        return str(made["fingerprint"])

    def stop(self) -> None:
        self._stack.close()
        self.parts.stop()

    def _cluster(self) -> None:
        enter = self._stack.enter_context
        self.double = enter(KubernetesDouble(namespaces=[SPACE], further=(*WORKLOADS, *_BESIDE)))
        runtime = enter(ProcessRuntime(self.parts.folder / "pods"))
        workloads = Workloads(self.double.cluster, runtime)
        way_in = _apis.Configuration(host=self.double.url)
        way_in.api_key["BearerToken"] = f"Bearer {self.double.admin_token}"
        api = enter(_apis.ApiClient(way_in))
        self.core, self.apps = _apis.CoreV1Api(api), _apis.AppsV1Api(api)
        enter(workloads.moving())

    def _deployment(self) -> Any:
        config = write_config(self.parts.folder / "litellm.json", self.parts.deployments)
        how = command(config, PORT, KeyMaterial(self.master_key))
        variables = [{"name": name, "value": value} for name, value in how.env.items()]
        container = {
            "name": NAME,
            "image": "local/litellm",
            "command": ["$(POD_IP)" if word == "127.0.0.1" else word for word in how.argv],
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, *variables],
            "envFrom": [{"secretRef": {"name": KEYS}}],
            "readinessProbe": {
                "httpGet": {"path": "/health/readiness", "port": PORT},
                "periodSeconds": 1,
                "timeoutSeconds": 5,
            },
            **({"lifecycle": _DRAIN} if self.way is Way.KEYTURN else {}),
        }
        return {
            "metadata": {"name": NAME, "labels": LABELS},
            "spec": {
                "replicas": self.members,
                "progressDeadlineSeconds": READY_SECONDS,
                "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "selector": {"matchLabels": LABELS},
                "template": {
                    "metadata": {"labels": LABELS},
                    "spec": {"terminationGracePeriodSeconds": GRACE, "containers": [container]},
                },
            },
        }

    def _configuration(self) -> Any:
        cluster = {"server": self.double.url, "token": "env:CLUSTER_TOKEN", "namespace": SPACE}
        fleet = {**cluster, "selector": f"app.kubernetes.io/name={NAME}", "master_key": "env:LITELLM_MASTER_KEY"}
        return {
            "providers": {"openai-org": self.parts.provider_settings},
            "stores": {"cluster": {"kind": "kubernetes_secret", **cluster}},
            "proxies": {"prod": {"kind": "kubernetes", "port": PORT, **fleet}},
            "credentials": {
                KEY.name: {
                    "provider": "openai-org",
                    "secrets": [KEY.secret],
                    "env": KEY.variable,
                    "canary": {"proxy": "prod", "model": KEY.model},
                    "proxies": ["prod"],
                    "overlap": self.parts.overlap,
                }
            },
        }

    def _pods(self) -> dict[str, str]:
        """uid -> name, of every pod that is there."""
        return {pod.metadata.uid: pod.metadata.name for pod in self.core.list_namespaced_pod(SPACE).items}

    def _until_done(self, before: set[str]) -> None:
        """As many as wanted are ready, and no pod of before is there, those that end included."""
        over = time.monotonic() + self.members * READY_SECONDS
        while time.monotonic() < over:
            pods = self.core.list_namespaced_pod(SPACE).items
            if sum(map(_is_ready, pods)) == len(pods) == self.members and not before & {pod.metadata.uid for pod in pods}:
                return
            time.sleep(0.2)
        raise RuntimeError("the pods did not come up")


def _is_ready(pod: Any) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])
