"""What in a workload loses requests when it is rolled."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keyturn.kubernetes.losses import losses
from keyturn.kubernetes.rollout import Kind
from tests.kubernetes.test_rollout import golden

STREAM = timedelta(minutes=10)


def workload(replicas: int = 2, grace: int | None = 900, strategy: Any = None, **container: Any) -> dict[str, Any]:
    whole = {
        "name": "litellm",
        "readinessProbe": {"httpGet": {"path": "/health/readiness", "port": 4000}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 15}}},
    }
    pod: dict[str, Any] = {"containers": [{**whole, **container}]}
    if grace is not None:
        pod["terminationGracePeriodSeconds"] = grace
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    chosen = rolling if strategy is None else strategy
    return {
        "metadata": {"name": "litellm"},
        "spec": {"replicas": replicas, "strategy": chosen, "updateStrategy": chosen, "template": {"spec": pod}},
    }


def rolling(**limits: Any) -> dict[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": limits}


def found(kind: Kind = Kind.DEPLOYMENT, **given: Any) -> list[tuple[bool | None, str]]:
    return [(each.ok, each.detail) for each in losses(kind, workload(**given), None, STREAM)]


def test_nothing_is_found_in_a_deployment_that_replaces_pods_before_it_stops_them() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("given", "ok", "said"),
    [
        ({"strategy": {"type": "Recreate"}}, False, "Recreate"),
        ({"replicas": 1}, None, "one pod"),
        ({"readinessProbe": None}, False, "readinessProbe"),
        ({"lifecycle": None}, None, "preStop"),
        ({"grace": 60}, False, "killed 1m after it was told to stop, and a request may take 10m"),
        ({"grace": None}, False, "killed 30s"),
        ({"strategy": rolling(maxUnavailable=1, maxSurge=0)}, None, "1 pods be missing"),
        ({"strategy": rolling(maxUnavailable="50%", maxSurge=1)}, None, "1 pods be missing"),
        ({"strategy": rolling(maxUnavailable="100%", maxSurge=0)}, False, "all 2 of its pods"),
        ({"strategy": rolling(maxUnavailable="10%", maxSurge=0)}, None, "1 pods be missing"),  # both come to nothing
        ({"replicas": 4, "strategy": {}}, None, "1 pods be missing"),  # 25% of four
    ],
)
def test_each_loss_is_told(given: dict[str, Any], ok: bool | None, said: str) -> None:
    ((found_ok, detail),) = found(**given)
    assert found_ok is ok and said in detail


def test_a_quarter_of_three_is_rounded_down_to_none() -> None:
    assert found(replicas=3, strategy={}) == []


def test_a_stateful_set_stops_a_pod_before_it_starts_the_next() -> None:
    ((ok, detail),) = found(Kind.STATEFUL_SET, replicas=1)
    assert ok is False and "it has one" in detail
    ((ok, _),) = found(Kind.STATEFUL_SET)
    assert ok is None


def test_a_daemon_set_misses_a_pod_unless_it_may_surge() -> None:
    ((ok, _),) = found(Kind.DAEMON_SET, strategy={})
    assert ok is None
    assert found(Kind.DAEMON_SET, strategy=rolling(maxUnavailable=0, maxSurge=1)) == []


def test_the_container_that_serves_may_be_named() -> None:
    whole = workload()
    whole["spec"]["template"]["spec"]["containers"].insert(0, {"name": "sidecar"})
    assert list(losses(Kind.DEPLOYMENT, whole, "litellm", STREAM)) == []
    (finding,) = losses(Kind.DEPLOYMENT, whole, "another", STREAM)
    assert finding.ok is False and finding.remedy


def test_a_recorded_deployment_is_read() -> None:
    """It has a probe, no hook, and five seconds of grace."""
    assert [each.ok for each in losses(Kind.DEPLOYMENT, golden("create-response.json"), None, STREAM)] == [None, False]
