"""How far a rollout is, against what a real API server recorded, and against every way in which counters mislead."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from keyturn.kubernetes.pods import mark_name
from keyturn.kubernetes.rollout import Kind, Rollout, State, judge, mark_of, why_held

GOLDEN = Path(__file__).parents[1] / "data" / "kubernetes-1.36.2"
CREDENTIAL = "openai-prod"
MARK = mark_name(CREDENTIAL)
RECORDED = "kubectl.kubernetes.io/restartedAt"  # what told the templates of the recording apart
COUNTERS = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text().replace(RECORDED, MARK))


def deployment(mark: str = "new", generation: int = 2, paused: bool = False, **status: Any) -> dict[str, Any]:
    whole = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}
    template = {"metadata": {"annotations": {MARK: mark}}}
    spec = {"replicas": 2, "template": template, "paused": paused}
    return {"metadata": {"generation": generation}, "spec": spec, "status": {**whole, **status}}


def pod(name: str, mark: str = "new", *, ready: bool = True, ending: bool = False, phase: str = "Running") -> dict[str, Any]:
    ended = {"deletionTimestamp": "2026-11-23T09:30:00Z"} if ending else {}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    metadata = {"name": name, "annotations": {MARK: mark}, **ended}
    return {"metadata": metadata, "status": {"phase": phase, "conditions": conditions}}


PODS = [pod("a"), pod("b")]


def state(workload: dict[str, Any], pods: Sequence[dict[str, Any]] = PODS, kind: Kind = Kind.DEPLOYMENT) -> State:
    return told(workload, pods, kind).state


def told(workload: dict[str, Any], pods: Sequence[dict[str, Any]] = PODS, kind: Kind = Kind.DEPLOYMENT) -> Rollout:
    return judge(kind, workload, pods, CREDENTIAL, "new")


def test_by_the_counters_alone_it_agrees_with_the_controller_at_every_recorded_moment() -> None:
    """The controller says NewReplicaSetAvailable; it never does so of a generation that it has not seen."""
    agreed = {State.DONE: 0, State.FAILED: 0, State.ROLLING: 0}
    for moment in golden("deployment-watch-timeline.json"):
        if "mark" in moment:
            continue
        status = {name: moment[name] for name in COUNTERS if moment[name] is not None}
        found = [{"type": type, "status": status, "reason": reason} for type, status, reason in moment["cond"]]
        seen = deployment(generation=moment["gen"]) | {"status": {**status, "conditions": found}}
        reasons = {reason for type, _, reason in moment["cond"] if type == "Progressing"}
        current = moment["observedGeneration"] == moment["gen"]
        expected = State.ROLLING
        if current and "NewReplicaSetAvailable" in reasons:
            expected = State.DONE
        elif current and "ProgressDeadlineExceeded" in reasons:
            expected = State.FAILED
        assert state(seen) is expected, moment
        agreed[expected] += 1
    assert agreed[State.DONE] >= 3 and agreed[State.FAILED] == 1 and agreed[State.ROLLING] > 20


def test_the_answer_to_a_restart_looks_finished_and_is_not() -> None:
    answer = golden("patch-restart-response.json")
    assert (
        judge(Kind.DEPLOYMENT, answer, PODS, CREDENTIAL, mark_of(answer, CREDENTIAL)).sentence
        == "its controller has not seen the new template yet"
    )


def test_a_rollout_that_hit_its_deadline_has_failed_although_two_pods_are_available() -> None:
    workload, pods = golden("deadline-exceeded.json"), golden("pods-during-failed.json")["items"]
    assert workload["status"]["availableReplicas"] == 2
    assert judge(Kind.DEPLOYMENT, workload, pods, CREDENTIAL, mark_of(workload, CREDENTIAL)).state is State.FAILED


def test_a_workload_that_was_just_made_is_not_done() -> None:
    answer = golden("create-response.json")
    assert judge(Kind.DEPLOYMENT, answer, [], CREDENTIAL, mark_of(answer, CREDENTIAL)).state is State.ROLLING


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([*PODS, pod("old", "last")], "old"),
        ([*PODS, pod("old", "last", ending=True)], "old"),
        ([pod("a"), pod("b", ending=True)], "b"),
        ([pod("a"), pod("b", ready=False)], "not ready: b"),
        ([pod("a")], "1 of 2 pods are there"),
        ([], "0 of 2 pods are there"),
        ([*PODS, *(pod(f"old-{number}", "last") for number in range(5))], "old-0, old-1, old-2 and 2 more"),
    ],
)
def test_pods_are_looked_at_whatever_the_counters_say(pods: list[dict[str, Any]], said: str) -> None:
    found = told(deployment(), pods)
    assert found.state is State.ROLLING and said in found.sentence


def test_pods_that_have_ended_are_not_waited_for() -> None:
    ended = [pod("evicted", "last", phase="Failed"), pod("job", "last", phase="Succeeded")]
    assert state(deployment(), [*PODS, *ended]) is State.DONE


@pytest.mark.parametrize(
    "status", [{"updatedReplicas": 1}, {"replicas": 3}, {"availableReplicas": 1}, {"observedGeneration": 1}]
)
def test_each_counter_is_waited_for(status: dict[str, Any]) -> None:
    assert state(deployment(**status)) is State.ROLLING


def test_a_deadline_of_the_last_rollout_is_no_failure_of_this_one() -> None:
    failed = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    assert state(deployment(observedGeneration=1, conditions=failed)) is State.ROLLING
    assert state(deployment(conditions=failed)) is State.FAILED


def test_why_no_pod_can_be_made_is_said_while_it_is_waited_for() -> None:
    failure = [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]
    found = told(deployment(conditions=failure, updatedReplicas=1))
    assert (found.state, found.sentence) == (State.ROLLING, "pods cannot be made (FailedCreate)")


def test_what_somebody_else_has_rolled_meanwhile_is_not_taken_for_ours() -> None:
    assert state(deployment(mark="another")) is State.HELD


def test_what_nobody_will_finish_is_held_and_says_what_to_do() -> None:
    assert "kubectl rollout resume" in told(deployment(paused=True)).sentence
    on_delete = deployment() | {"spec": {**deployment()["spec"], "updateStrategy": {"type": "OnDelete"}}}
    half = deployment() | {"spec": {**deployment()["spec"], "updateStrategy": {"rollingUpdate": {"partition": 1}}}}
    assert state(on_delete, kind=Kind.STATEFUL_SET) is State.HELD
    assert state(on_delete, kind=Kind.DAEMON_SET) is State.HELD
    assert state(half, kind=Kind.STATEFUL_SET) is State.HELD
    assert why_held(Kind.STATEFUL_SET, half) and why_held(Kind.DEPLOYMENT, deployment(paused=True))
    assert why_held(Kind.DEPLOYMENT, deployment()) == ""


def test_the_last_pod_of_a_workload_that_is_scaled_to_nothing_is_waited_for() -> None:
    none = deployment(replicas=0, updatedReplicas=0, availableReplicas=0)
    none["spec"]["replicas"] = 0
    assert state(none, [pod("old", "last", ending=True)]) is State.ROLLING
    assert told(none, []) == Rollout(State.DONE, "it is to have no pods")


def test_what_another_credential_was_rolled_for_counts_for_nothing() -> None:
    assert judge(Kind.DEPLOYMENT, deployment(), PODS, "another", "new").state is State.HELD
    assert mark_of(deployment(), "another") == ""


def test_the_longest_names_of_credentials_make_names_of_annotations() -> None:
    """At most 63 characters behind the slash, which begin and end with a letter or a digit."""
    for credential in ("a" * 40, "0" + "-" * 39):
        assert re.fullmatch(r"keyturn\.dev/[a-z0-9][-a-z0-9.]{0,61}[a-z0-9]", mark_name(credential))


def daemon_set(**status: int) -> dict[str, Any]:
    whole = dict.fromkeys(
        (
            "observedGeneration",
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "updatedNumberScheduled",
            "numberAvailable",
        ),
        2,
    )
    return deployment() | {"status": {**whole, **status}}


def test_a_daemon_set_has_counters_of_its_own() -> None:
    assert state(daemon_set(), kind=Kind.DAEMON_SET) is State.DONE
    for status in ({"updatedNumberScheduled": 1}, {"numberAvailable": 1}, {"currentNumberScheduled": 3}):
        assert state(daemon_set(**status), kind=Kind.DAEMON_SET) is State.ROLLING


def test_a_stateful_set_is_done_like_a_deployment() -> None:
    assert state(deployment(), kind=Kind.STATEFUL_SET) is State.DONE
    assert state(deployment(updatedReplicas=1), kind=Kind.STATEFUL_SET) is State.ROLLING
