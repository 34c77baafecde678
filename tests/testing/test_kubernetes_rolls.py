"""Rolls of a Deployment whose pods are processes, with requests through its Service: what is lost, and what is not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyturn.material import KeyMaterial
from keyturn.testing.kubernetes_balancer import ServiceBalancer
from tests.testing.process_scene import KEYS, NAME, POD_IP, PORT, SPACE, ProcessScene, is_ready, process_scene, until

pytestmark = pytest.mark.real

PROXY = [sys.executable, "-m", "keyturn.testing.fake_proxy", "--host", "$(POD_IP)", "--port", str(PORT)]
READINESS = {"httpGet": {"path": "/health/readiness", "port": PORT}, "periodSeconds": 1, "timeoutSeconds": 5}
LAG = 0.2
DRAIN = {"preStop": {"sleep": {"seconds": 5}}}  # far more than the lag, also on a machine that is busy


@pytest.fixture
def on(tmp_path: Path) -> Iterator[ProcessScene]:
    with process_scene(tmp_path) as made:
        yield made


def fingerprint(text: str) -> str:
    return KeyMaterial(text).fingerprint()


def proxies(on: ProcessScene, *arguments: str, lifecycle: dict[str, Any] | None = None, **spec: Any) -> None:
    """Two proxies that serve."""
    on.secret(OPENAI_API_KEY="one")
    container = {
        "command": [*PROXY, *arguments],
        "env": [POD_IP],
        "envFrom": [{"secretRef": {"name": KEYS}}],
        "readinessProbe": READINESS,
        **({"lifecycle": lifecycle} if lifecycle else {}),
    }
    on.deployment(container, replicas=2, grace=60, **spec)
    on.until_ready(2)


def change_key(on: ProcessScene, text: str) -> None:
    on.core.patch_namespaced_secret(KEYS, SPACE, {"stringData": {"OPENAI_API_KEY": text}})


@dataclass
class Traffic:
    """What clients saw that open a connection for each request."""

    url: str
    served: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> str:
        answer = httpx.post(f"{self.url}/v1/chat/completions", json={}, timeout=30, trust_env=False)
        return str(answer.raise_for_status().json()["choices"][0]["message"]["content"])

    def run(self) -> None:
        while not self.over.wait(0.02):
            try:
                self.served.append(self.ask())
            except httpx.HTTPError as error:
                self.failed.append(type(error).__name__)


@contextmanager
def traffic(url: str) -> Iterator[Traffic]:
    made = Traffic(url)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        thread.join()


@contextmanager
def service(on: ProcessScene, lag: float = LAG) -> Iterator[ServiceBalancer]:
    with ServiceBalancer(on.double.cluster, SPACE, {"app": NAME}, PORT, lag=lag) as made:
        yield made


def test_a_roll_with_a_drain_loses_no_request_and_leaves_no_pod_of_before(on: ProcessScene) -> None:
    proxies(on, lifecycle=DRAIN)
    before = {each.metadata.name for each in on.pods()}
    with service(on) as balancer, traffic(balancer.url) as seen:
        assert len(balancer.endpoints) == 2
        change_key(on, "two")
        fewest, most = 2, 2
        on.restart("1")
        while on.progress() != "NewReplicaSetAvailable" or before & {each.metadata.name for each in on.pods()}:
            there = on.pods()
            staying = [each for each in there if each.metadata.deletion_timestamp is None]
            fewest, most = min(fewest, len([each for each in staying if is_ready(each)])), max(most, len(staying))
        assert (fewest, most) == (2, 3), "one more than wanted, and never one less that is ready"
        mark = len(seen.served)
        until(lambda: len(seen.served) > mark + 10)
    assert seen.failed == []
    assert seen.served[0] == fingerprint("one") and set(seen.served[-5:]) == {fingerprint("two")}


def test_a_stream_that_runs_when_its_pod_is_told_to_end_is_served_to_its_end(on: ProcessScene) -> None:
    hold = on.folder / "hold"
    proxies(on, "--hold", str(hold), lifecycle=DRAIN)
    before = {each.metadata.name for each in on.pods()}
    with service(on) as balancer:
        url = f"{balancer.url}/v1/chat/completions"
        with httpx.stream("POST", url, json={"stream": True}, timeout=60, trust_env=False) as answer:
            lines = answer.iter_lines()
            assert fingerprint("one") in next(lines)
            change_key(on, "two")
            on.restart("1")
            until(lambda: on.progress() == "NewReplicaSetAvailable")
            assert before & {each.metadata.name for each in on.pods()}, "complete, and one of before still serves"
            hold.touch()
            assert [each for each in lines if each][-1] == "data: [DONE]"
    until(lambda: not before & {each.metadata.name for each in on.pods()})


def test_a_pod_that_is_never_ready_ends_no_other_and_the_deadline_tells_of_it(on: ProcessScene) -> None:
    stall = on.folder / "stall"
    stall.write_text(fingerprint("bad"))
    proxies(on, "--stall", str(stall), lifecycle=DRAIN, progressDeadlineSeconds=3)
    before = {each.metadata.name for each in on.pods()}
    with service(on) as balancer, traffic(balancer.url) as seen:
        change_key(on, "bad")
        on.restart("1")
        until(lambda: on.progress() == "ProgressDeadlineExceeded")
        assert len(on.pods()) == 3
        assert before == {each.metadata.name for each in on.pods() if is_ready(each)}
        mark = len(seen.served)
        until(lambda: len(seen.served) > mark + 10)
    assert seen.failed == [] and set(seen.served) == {fingerprint("one")}


def test_a_balancer_that_learns_late_of_a_pod_that_ended_loses_requests(on: ProcessScene) -> None:
    """Or else the tests above would show nothing."""
    proxies(on)
    with service(on, lag=3) as balancer, traffic(balancer.url) as seen:
        on.restart("1")
        until(lambda: on.progress() == "NewReplicaSetAvailable" and len(on.pods()) == 2)
        until(lambda: seen.failed)


def test_who_keeps_a_connection_keeps_its_pod_and_others_are_served_in_turn(on: ProcessScene) -> None:
    proxies(on)
    with service(on, lag=0) as balancer:
        url = f"{balancer.url}/v1/chat/completions"
        with httpx.Client(trust_env=False, timeout=30) as kept:
            assert len({kept.post(url, json={}).json()["pid"] for _ in range(4)}) == 1
        pids = [httpx.post(url, json={}, trust_env=False, timeout=30).json()["pid"] for _ in range(4)]
        assert pids[:2] == pids[2:] and len(set(pids)) == 2
        on.apps.delete_namespaced_deployment(NAME, SPACE)
        until(lambda: on.pods() == [] and balancer.endpoints == ())
        with pytest.raises(httpx.HTTPError):
            httpx.get(balancer.url, trust_env=False)
