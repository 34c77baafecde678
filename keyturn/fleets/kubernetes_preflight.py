"""What stands in the way of rolling a fleet's workloads, before anything is created: told by looking, changing nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta

from keyturn.errors import KeyturnError, PermanentError, RetryableError, UnavailableError
from keyturn.fleets.kubernetes_given import HOW_TO_GIVE, WhatPodsRead
from keyturn.fleets.kubernetes_objects import NotThereError, Object, Objects, Workload, names_of
from keyturn.json_object import inside
from keyturn.kubernetes.access_review import permission
from keyturn.kubernetes.client import KubernetesClient
from keyturn.kubernetes.losses import losses
from keyturn.kubernetes.pods import name_of, owner_of
from keyturn.kubernetes.rollout import Rollout, State, judge, mark_of, wanted_pods, why_held
from keyturn.model import Finding

_ARGO = "rollouts-pod-template-hash"  # a label of Argo Rollouts' pods


class Preflight:
    """Of one fleet, anew for each look."""

    def __init__(
        self,
        client: KubernetesClient,
        objects: Objects,
        given: WhatPodsRead,
        container: str | None,
        longest_request: timedelta,
    ) -> None:
        self._client, self._objects, self._given = client, objects, given
        self._container, self._longest_request = container, longest_request

    async def of(self, credential: str) -> Sequence[Finding]:
        """UnavailableError where nothing else is in the way than a rollout that is not done."""
        findings = [await permission(self._client, each) for each in self._objects.listed()]
        try:
            look = await self._objects.look()
        except PermanentError as error:
            return [*findings, Finding("workloads", False, error.message, error.remedy)]
        busy = []
        for workload in look.workloads:
            pods = look.pods[workload.name]
            mark = mark_of(workload.content, credential)
            found = judge(workload.kind, workload.content, pods, credential, mark)
            if found.state is State.ROLLING:
                busy.append(f"{workload.name}: {found.sentence}")
            findings += self._can_roll(workload, found)
            findings += self._without_loss(workload)
            findings += await self._is_given(workload, credential)
            wanted = [self._objects.wanted(verb, workload.name) for verb in ("get", "patch")]
            findings += await asyncio.gather(*(permission(self._client, each) for each in wanted))
        findings += [_stranger(pod) for pod in look.strangers]
        findings += await self._autoscaled(names_of(look.workloads))
        if busy and not any(finding.ok is False for finding in findings):
            raise UnavailableError(f"a rollout is under way: {'; '.join(busy)}", remedy="wait until it is done")
        return findings

    async def _autoscaled(self, workloads: Collection[tuple[str, str]]) -> Sequence[Finding]:
        """Autoscalers that may leave a workload with one pod, or none: with that one goes all that serves."""
        try:
            found = await self._objects.autoscalers()
        except PermanentError as error:
            return [Finding("autoscalers of the workloads", None, error.message, error.remedy)]
        told = []
        for each in found:
            target, least = inside(each, "spec", "scaleTargetRef"), inside(each, "spec", "minReplicas")
            scaled, least = (inside(target, "kind"), inside(target, "name")), 1 if least is None else least
            if scaled in workloads and least < 2:
                what = f"the autoscaler of {scaled[0].lower()}/{scaled[1]} leaves it two pods"
                told.append(Finding(what, None, f"its minReplicas is {least}", "make it 2"))
        return told

    def _can_roll(self, workload: Workload, found: Rollout) -> Sequence[Finding]:
        what = f"{workload.name} can be rolled"
        if why := why_held(workload.kind, workload.content):
            return [Finding(what, False, why, "change that, or take it out of the selector")]
        if found.state is State.FAILED:
            return [Finding(what, False, f"its last rollout failed: {found.sentence}", "mend it, or `kubectl rollout undo`")]
        if wanted_pods(workload.kind, workload.content) == 0:
            remedy = "nothing: pods that it gets later start with the key of then"
            return [Finding(what, None, "it is to have no pods: there is nothing to replace, or to prove", remedy)]
        return [Finding(what, True)]

    def _without_loss(self, workload: Workload) -> Sequence[Finding]:
        """Told, and no reason to stop: a key that is not rotated is worse."""
        if wanted_pods(workload.kind, workload.content) == 0:
            return []
        found = losses(workload.kind, workload.content, self._container, self._longest_request)
        return [replace(each, ok=None) for each in found] or [Finding(f"{workload.name} rolls without loss", True)]

    async def _is_given(self, workload: Workload, credential: str) -> Sequence[Finding]:
        what = f"{workload.name} is given the key of {credential}"
        try:
            reads = self._given.reads(workload.template, credential)
        except PermanentError as error:
            return [Finding(what, False, error.message, error.remedy)]
        if reads.faults:
            return [Finding(what, False, "; ".join(reads.faults), HOW_TO_GIVE)]
        if reads.at_start:
            return [Finding(what, True, reads.at_start)]
        findings = [await permission(self._client, self._objects.given(place)) for place in reads.places]
        names = self._given.names(credential)
        for given in reads.given:
            try:
                told = ", ".join([f"{one.variable} by {await self._given.place(one)}" for one in given])
                holds = await self._given.fingerprint(given, names)
                detail, remedy = (
                    (told, "") if holds else (f"{told}: no key stands there", "write the key in use there first")
                )
                findings.append(Finding(what, bool(holds), detail, remedy))
            except RetryableError as error:
                if not isinstance(error, NotThereError):
                    raise
                findings.append(Finding(what, False, error.message, "make it, or correct the template"))
            except KeyturnError as error:
                findings.append(Finding(what, False, error.message, error.remedy))
        return findings


def _stranger(pod: Object) -> Finding:
    kind, name = owner_of(pod)
    labels = pod["metadata"].get("labels") or {}
    by = "an Argo Rollout, which keyturn does not roll" if _ARGO in labels else f"{kind} {name}" if kind else "nothing"
    return Finding(
        f"pod {name_of(pod)} is kept by a workload of this fleet",
        False,
        f"it has the fleet's labels, and is kept by {by}: nothing would give it the new key",
        "label its workload so that `selector` finds it (see `kinds`), or take the labels from the pod",
    )
