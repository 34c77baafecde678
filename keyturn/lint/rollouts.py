"""How a LiteLLM workload of Kubernetes is replaced, pod by pod: what a roll would cost its users."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from keyturn.lint.catalogue import CAPACITY_LOST, KILLED_STARTING, NO_PRE_STOP, NO_READINESS, ONE_REPLICA, SHORT_GRACE
from keyturn.lint.finding import Hit, hit
from keyturn.lint.tree import Map, Node, text_of

_DRAIN, _MARGIN, _START = 30, 15, 120  # seconds: LiteLLM's own cap, what is left after it, and what it may need to start
_USUAL_GRACE = 30
_SLEEP = re.compile(r"\bsleep[\s\"',]{1,10}(\d{1,5})\b")


def rollout_hits(workload: Map, pod: Map, proxies: Sequence[Map], scaled: bool) -> Iterator[Hit]:
    spec = workload.map("spec")
    replicas = _number(spec.at("replicas"), 1)
    if replicas == 1 and not scaled:
        what = "replicas is 1" if spec.at("replicas") is not None else "replicas is not set, which is 1"
        yield hit(ONE_REPLICA, spec.at("replicas") or spec, what)
    if workload.text("kind") == "Deployment":
        yield from _strategy_hits(spec, replicas)
    wait = 0
    for proxy in proxies:
        if proxy.at("readinessProbe") is None:
            yield hit(NO_READINESS, proxy, "this container has no readinessProbe")
        if proxy.at("lifecycle", "preStop") is None:
            yield hit(NO_PRE_STOP, proxy, "this container has no preStop hook")
        wait = max(wait, _wait(proxy))
        yield from _start_hits(proxy)
    yield from _grace_hits(pod, wait)


def _strategy_hits(spec: Map, replicas: int) -> Iterator[Hit]:
    strategy = spec.map("strategy")
    if strategy.text("type") == "Recreate":
        yield hit(CAPACITY_LOST, strategy, "Recreate stops every pod before a new one is started")
        return
    node = strategy.at("rollingUpdate", "maxUnavailable")
    text = text_of(node) or "25%"
    percent = re.fullmatch(r"(\d{1,3})%", text)
    away = math.floor(replicas * int(percent[1]) / 100) if percent else _number(node, 0)
    # Kubernetes rounds down here: the usual 25% takes no pod of three away.
    if away > 0 or (node is not None and not percent and _number(node, 0) > 0):
        told = "maxUnavailable" if node is not None else "maxUnavailable (25% unless set)"
        yield hit(CAPACITY_LOST, node or spec, f"{told} lets {away} of {replicas} pods be away")


def _grace_hits(pod: Map, wait: int) -> Iterator[Hit]:
    node = pod.at("terminationGracePeriodSeconds")
    grace, needed = _number(node, _USUAL_GRACE), wait + _DRAIN + _MARGIN
    if grace < needed:
        told = (
            f"terminationGracePeriodSeconds is {grace}"
            if node is not None
            else "terminationGracePeriodSeconds is 30 unless set"
        )
        yield hit(
            SHORT_GRACE, node or pod, f"{told}, and {needed} are needed: preStop {wait}, drain {_DRAIN}, margin {_MARGIN}"
        )


def _start_hits(proxy: Map) -> Iterator[Hit]:
    liveness, startup = proxy.at("livenessProbe"), proxy.at("startupProbe")
    if not isinstance(liveness, Map):
        return
    probe, name = (startup, "startupProbe") if isinstance(startup, Map) else (liveness, "livenessProbe")
    allowed = _number(probe.at("initialDelaySeconds"), 0) + _number(probe.at("periodSeconds"), 10) * _number(
        probe.at("failureThreshold"), 3
    )
    if allowed < _START:
        yield hit(KILLED_STARTING, probe, f"the {name} gives up after about {allowed} s")


def _wait(proxy: Map) -> int:
    """Seconds that the preStop hook waits, as far as it says so."""
    hook = proxy.map("lifecycle", "preStop")
    words = " ".join(map(text_of, hook.list("exec", "command")))
    slept = [int(each) for each in _SLEEP.findall(words)]
    return max([_number(hook.at("sleep", "seconds"), 0), *slept])


def _number(node: Node | None, default: int) -> int:
    text = text_of(node)
    return int(text) if re.fullmatch(r"\d{1,6}", text) else default
