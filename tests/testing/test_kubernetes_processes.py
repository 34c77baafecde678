"""Pods of the Kubernetes double that are processes: their variables, probes, ends, and that none of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.testing.kubernetes_environment import expanded
from tests.testing.process_scene import (
    KEYS,
    PORT,
    READY,
    SPACE,
    ProcessScene,
    is_ready,
    process_scene,
    until,
    variables,
)

pytestmark = pytest.mark.real


@pytest.fixture
def on(tmp_path: Path) -> Iterator[ProcessScene]:
    with process_scene(tmp_path, back_off=0.1) as made:
        yield made


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# Variables and addresses ------------------------------------------------------------------------------------------------


def test_each_pod_answers_at_its_own_address_with_the_variables_of_its_template_and_no_others(
    on: ProcessScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_TEST", "1")
    on.secret(API_KEY="v1", OTHER="o")
    env = [
        {"name": "ONE", "valueFrom": {"secretKeyRef": {"name": KEYS, "key": "API_KEY"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": KEYS, "key": "absent", "optional": True}}},
        {"name": "P_OTHER", "value": "over"},
        {"name": "URL", "value": "http://$(POD_IP)/$(ONE)"},
    ]
    sources = [{"prefix": "P_", "secretRef": {"name": KEYS}}, {"secretRef": {"name": "absent", "optional": True}}]
    on.deployment({"env": env, "envFrom": sources, "readinessProbe": READY}, replicas=2)
    on.until_ready(2)
    first, second = on.pods()
    assert first.status.pod_ip != second.status.pod_ip
    found = variables(first)
    assert (found["ONE"], found["P_API_KEY"], found["P_OTHER"]) == ("v1", "v1", "over")
    assert found["URL"] == f"http://{first.status.pod_ip}/v1"
    assert found["HOSTNAME"] == first.metadata.name
    assert not {"NONE", "OF_THE_TEST"} & set(found)
    assert not [each for each in found if "API_KEY" in each and each != "P_API_KEY"]


def test_names_in_a_text_are_put_in_and_unknown_ones_stay() -> None:
    assert expanded("$(A)-$(B)-$$(A)-$A", {"A": "1"}) == "1-$(B)-$(A)-$A"


def test_a_key_that_its_secret_does_not_have_is_waited_for(on: ProcessScene) -> None:
    on.secret(OTHER="o")
    on.deployment({"env": [{"name": "ONE", "valueFrom": {"secretKeyRef": {"name": KEYS, "key": "API_KEY"}}}]})
    until(lambda: on.pods() and on.pod().status.container_statuses)
    assert on.container().state.waiting.reason == "CreateContainerConfigError"
    on.core.patch_namespaced_secret(KEYS, SPACE, {"stringData": {"API_KEY": "v1"}})
    until(lambda: on.container().state.running)


def test_a_secret_that_is_changed_is_seen_by_a_container_that_starts_again_and_by_no_other(on: ProcessScene) -> None:
    on.secret(API_KEY="v1")
    container = {"envFrom": [{"secretRef": {"name": KEYS}}], "readinessProbe": READY}
    on.deployment(container)
    on.until_ready()
    before = on.container()
    on.core.patch_namespaced_secret(KEYS, SPACE, {"stringData": {"API_KEY": "v2"}})
    assert variables(on.pod())["API_KEY"] == "v1"
    os.kill(int(variables(on.pod())["PID"]), signal.SIGKILL)
    until(lambda: on.container().restart_count == 1 and is_ready(on.pod()))
    assert variables(on.pod())["API_KEY"] == "v2"
    after = on.container()
    ended = after.last_state.terminated
    assert (ended.exit_code, ended.reason, ended.container_id) == (137, "Error", before.container_id)
    assert after.container_id != before.container_id
    assert after.state.running.started_at >= before.state.running.started_at


# Probes -----------------------------------------------------------------------------------------------------------------


def test_a_pod_is_ready_while_its_probe_says_so(on: ProcessScene) -> None:
    on.deployment({"readinessProbe": {**READY, "failureThreshold": 1}})
    on.until_ready()
    (on.folder / "unready").touch()
    until(lambda: not is_ready(on.pod()))
    assert on.container().restart_count == 0
    (on.folder / "unready").unlink()
    on.until_ready()


def test_a_probe_without_its_headers_does_not_pass(on: ProcessScene) -> None:
    on.deployment({"readinessProbe": {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 1}})
    until(lambda: on.notes().count("asked") >= 2)
    assert not is_ready(on.pod())


def test_one_that_is_sick_is_ended_and_started_again(on: ProcessScene) -> None:
    live = {"httpGet": {"path": "/live", "port": "web"}, "periodSeconds": 1, "failureThreshold": 2}
    started = {"tcpSocket": {"port": "web"}, "periodSeconds": 1, "failureThreshold": 30}
    ports = [{"name": "web", "containerPort": PORT}]
    on.deployment({"ports": ports, "livenessProbe": live, "startupProbe": started, "readinessProbe": READY})
    on.until_ready()
    (on.folder / "sick").touch()
    until(lambda: on.container().restart_count == 1)
    (on.folder / "sick").unlink()
    assert "SIGTERM" in on.notes()
    until(lambda: on.container().last_state.terminated)
    on.until_ready()


def test_nobody_asks_whether_it_is_ready_before_it_has_started(on: ProcessScene) -> None:
    started = {"exec": {"command": ["test", "-e", str(on.folder / "started")]}, "periodSeconds": 1, "failureThreshold": 600}
    on.deployment({"startupProbe": started, "readinessProbe": READY})
    until(lambda: on.pods() and on.pod().status.pod_ip and on.container().state.running)
    assert on.container().started is False
    assert "asked" not in on.notes()
    (on.folder / "started").touch()
    on.until_ready()
    assert on.container().started is True


def test_one_that_does_not_start_in_time_is_started_again_later_each_time(on: ProcessScene) -> None:
    on.deployment({"command": ["sh", "-c", "exit 3"]})
    until(lambda: on.pods() and on.pod().status.container_statuses and on.container().restart_count >= 2)
    until(lambda: on.container().state.waiting)
    told = on.container()
    assert told.state.waiting.reason == "CrashLoopBackOff"
    assert told.last_state.terminated.exit_code == 3
    assert not told.ready and told.container_id is None


def test_an_image_without_a_program_is_not_pulled(on: ProcessScene) -> None:
    on.deployment({"command": None})
    until(lambda: on.pods() and on.pod().status.container_statuses)
    assert on.container().state.waiting.reason == "ErrImagePull"


# Ends -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hook",
    [
        {"httpGet": {"path": "/hook", "port": PORT}},
        {"exec": {"command": ["sh", "-c", "echo hook >> $FOLDER/notes"]}},
    ],
)
def test_the_hook_is_done_before_the_program_is_told_to_end(hook: dict[str, Any], on: ProcessScene) -> None:
    on.deployment({"lifecycle": {"preStop": hook}, "readinessProbe": READY}, grace=30)
    on.until_ready()
    pid = int(variables(on.pod())["PID"])
    on.apps.delete_namespaced_deployment("litellm", SPACE)
    until(lambda: on.pods() == [])
    assert [each for each in on.notes() if each != "asked"] == ["hook", "SIGTERM"]
    assert not runs(pid), "no pod is gone before its program is"


def test_while_a_hook_sleeps_the_pod_serves_and_is_still_ready(on: ProcessScene) -> None:
    on.deployment({"lifecycle": {"preStop": {"sleep": {"seconds": 60}}}, "readinessProbe": READY}, grace=90)
    on.until_ready()
    pod = on.pod()
    pid = int(variables(pod)["PID"])
    on.core.delete_namespaced_pod(pod.metadata.name, SPACE)
    until(lambda: len(on.pods()) == 2 and all(is_ready(each) for each in on.pods()))
    assert variables(pod)["HOSTNAME"] == pod.metadata.name
    assert "SIGTERM" not in on.notes()
    on.core.delete_namespaced_pod(pod.metadata.name, SPACE, grace_period_seconds=0)
    until(lambda: not runs(pid))
    assert len(on.pods()) == 1, "by force: it does not sleep to its end"


def test_one_that_is_deaf_is_killed_after_its_grace_period_with_what_it_started(on: ProcessScene) -> None:
    deaf = [{"name": "DEAF", "value": "1"}, {"name": "CHILD", "value": "1"}]
    on.deployment({"env": deaf, "readinessProbe": READY}, grace=1)
    on.until_ready()
    child = int(next(each for each in on.notes() if each.startswith("child")).split()[1])
    pid = int(variables(on.pod())["PID"])
    assert runs(child)
    on.apps.delete_namespaced_deployment("litellm", SPACE)
    until(lambda: on.pods() == [])
    assert "SIGTERM" in on.notes()
    assert not runs(pid) and not runs(child)


def test_nothing_runs_after_the_end(tmp_path: Path) -> None:
    with process_scene(tmp_path) as on:
        on.deployment({"readinessProbe": READY}, replicas=2)
        on.until_ready(2)
        pids = [int(variables(each)["PID"]) for each in on.pods()]
        assert all(runs(each) for each in pids)
    assert not any(runs(each) for each in pids)


def test_nothing_runs_when_the_double_is_killed(tmp_path: Path) -> None:
    code = """
import subprocess, sys, time
from keyturn.testing.kept_processes import Keeper
keeper = Keeper()
kept = keeper.start(["sh", "-c", "sleep 600 & echo $$ $!; wait"], {"PATH": "/usr/bin:/bin"}, None)
time.sleep(600)
"""
    killed = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    pids = [int(each) for each in killed.stdout.readline().split()]
    assert len(pids) == 2 and all(runs(each) for each in pids)
    killed.kill()
    killed.wait()
    killed.stdout.close()
    until(lambda: not any(runs(each) for each in pids))
