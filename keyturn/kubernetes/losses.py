"""Whether a workload can be rolled without losing requests: from its pod template and strategy, before it is rolled. Pure.

After the API reference of apps/v1: a percentage of maxUnavailable is rounded down, one of maxSurge up, and where both come
to nothing one pod may be missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from keyturn.durations import text
from keyturn.json_object import inside
from keyturn.kubernetes.rollout import Kind
from keyturn.model import Finding

_DEFAULT_GRACE = 30  # seconds
_PERCENT = re.compile(r"([0-9]{1,3})%")

Object = dict[str, Any]


def losses(kind: Kind, workload: Object, container: str | None, longest_request: timedelta) -> Sequence[Finding]:
    """`container`: the one that serves; None: the first. `longest_request`: a stream's, which a pod has to be let finish.

    False: requests fail whenever it is rolled. None: they may, by what stands in front of it. No finding: nothing found.
    """
    name = inside(workload, "metadata", "name") or "it"
    return [
        Finding(f"{kind.value} {name} rolls without loss", ok, detail, remedy)
        for ok, detail, remedy in (*_strategy(kind, workload), *_pod(workload, container, longest_request))
    ]


def _strategy(kind: Kind, workload: Object) -> Iterator[tuple[bool | None, str, str]]:
    spec = inside(workload, "spec") or {}
    replicas = spec.get("replicas", 1)
    if kind is Kind.DEPLOYMENT and inside(spec, "strategy", "type") == "Recreate":
        yield False, "its strategy is Recreate: every pod is stopped before a new one starts", "make it RollingUpdate"
        return
    if kind is Kind.STATEFUL_SET:
        if replicas == 1:
            yield False, "a StatefulSet stops a pod before it starts the next, and it has one", "give it two replicas"
        else:
            yield None, f"one of {replicas} pods is missing while it is rolled", "see that the others can carry the load"
        return
    missing = _may_be_missing(kind, spec, replicas)
    if kind is Kind.DEPLOYMENT and missing >= replicas > 0:
        yield False, f"maxUnavailable lets all {replicas} of its pods be missing at once", "set maxUnavailable: 0"
    elif missing:
        yield None, f"maxUnavailable lets {missing} pods be missing while it is rolled", "set maxUnavailable: 0, maxSurge: 1"
    elif kind is Kind.DEPLOYMENT and replicas == 1:
        yield None, "it has one pod: whatever evicts that is an outage, also in a rollout", "give it two replicas"


def _may_be_missing(kind: Kind, spec: Object, replicas: int) -> int:
    daemon = kind is Kind.DAEMON_SET
    given = inside(spec, "updateStrategy" if daemon else "strategy", "rollingUpdate") or {}
    missing = _pods(given.get("maxUnavailable", 1 if daemon else "25%"), replicas, math.floor)
    surge = _pods(given.get("maxSurge", 0 if daemon else "25%"), replicas, math.ceil)
    return missing if missing or surge else 1


def _pods(value: Any, replicas: int, rounded: Any) -> int:
    if isinstance(value, int):
        return value
    found = _PERCENT.fullmatch(str(value))
    return int(rounded(replicas * int(found[1]) / 100)) if found else 0


def _pod(workload: Object, container: str | None, longest_request: timedelta) -> Iterator[tuple[bool | None, str, str]]:
    spec = inside(workload, "spec", "template", "spec") or {}
    found = [each for each in spec.get("containers") or () if container in (None, each.get("name"))]
    if not found:
        yield False, f"it has no container {container}", "name the one that LiteLLM runs in"
        return
    serving = found[0]
    if not serving.get("readinessProbe"):
        yield (
            False,
            "its container has no readinessProbe: a pod is sent requests before it can answer",
            "probe /health/readiness of LiteLLM",
        )
    if not inside(serving, "lifecycle", "preStop"):
        yield (
            None,
            "its container has no preStop hook: requests still come to a pod that has begun to stop",
            "let it sleep in preStop until endpoints have forgotten the pod, 15 s mostly",
        )
    grace = timedelta(seconds=spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE))
    if grace < longest_request:
        yield (
            False,
            f"a pod is killed {text(grace)} after it was told to stop, and a request may take {text(longest_request)}",
            "raise terminationGracePeriodSeconds",
        )
