"""One roll of one workload: an annotation of its pod template, once, and then waiting until every pod is of it.

The platform does the rest: its controller replaces pods as the strategy says, and keeps the old ones while a new one does
not become ready. What is written is one patch, under the resourceVersion that was read.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from keyturn.durations import text
from keyturn.errors import KeyturnError, RollFailedError, UnavailableError
from keyturn.fleets.kubernetes_given import Pause, WhatPodsRead
from keyturn.fleets.kubernetes_objects import Object, Objects, Workload
from keyturn.kubernetes.pods import is_ending, is_ready, is_there, mark_in, mark_name
from keyturn.kubernetes.rollout import State, judge, mark_of, why_held
from keyturn.model import VersionRef

_TRIES = 20  # of a patch, against a controller that writes the status of the same object all the time
_CROWDED = 0.2  # seconds between them


@dataclass(frozen=True)
class Patience:
    """How long what is waited for."""

    roll: timedelta
    sync: timedelta
    settle: timedelta
    every: timedelta


class Roll:
    """Of `workload`, for `credential`, onto `version`, under the name `rollout`. `others`: the fleet's workloads."""

    def __init__(
        self,
        objects: Objects,
        given: WhatPodsRead,
        patience: Patience,
        workload: str,
        credential: str,
        version: VersionRef,
        rollout: str,
        others: Collection[tuple[str, str]],
        pause: Pause,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects, self._given, self._patience = objects, given, patience
        self._workload, self._credential, self._version, self._rollout = workload, credential, version, rollout
        self._others, self._pause, self._now = others, pause, now

    async def begin(self) -> None:
        """Have it rolled, unless it was told to already; not before what its pods are given holds the version."""
        is_settled = False
        for _ in range(_TRIES):
            seen = await self._read()
            if self._is_told(seen):
                return
            if why := why_held(seen.kind, seen.content):
                raise self._failed(why)
            # Asked after the workload was read: whoever goes back to another value marks the workload after that, too,
            # so either it is seen here, or the resourceVersion has moved.
            if not is_settled or not await self._given.holds(seen.template, self._credential, self._version):
                await self._wait_for_the_version(seen)
                is_settled = True
            elif await self._objects.annotate(seen, mark_name(self._credential), self._rollout):
                return
            else:
                await self._pause(_CROWDED)
        raise UnavailableError(f"{self._workload} is changed by somebody else all the time", remedy="look who writes it")

    async def finish(self, proved: Callable[[Object], Awaitable[None]]) -> None:
        """Wait until every pod is of this roll and ready, and none of another is left. `proved`: of each pod that is new
        and ready, once; what it raises ends the waiting, and has the roll put back where it refuses."""
        asked: set[str] = set()
        deadline = self._now() + self._patience.roll.total_seconds()
        while True:
            seen = await self._read()
            pods = await self._objects.pods(seen, self._others)
            found = judge(seen.kind, seen.content, pods, self._credential, self._rollout)
            if found.state is not State.HELD:
                await self._prove(pods, proved, asked)
            match found.state:
                case State.DONE:
                    return
                case State.FAILED | State.HELD:
                    raise self._failed(found.sentence)
            if self._now() >= deadline:
                raise self._failed(f"it is not done after {text(self._patience.roll)}: {found.sentence}")
            await self._pause(self._patience.every.total_seconds())

    async def _prove(self, pods: Collection[Object], proved: Callable[[Object], Awaitable[None]], asked: set[str]) -> None:
        for pod in pods:
            uid = str(pod["metadata"].get("uid"))
            if uid in asked or not self._is_new(pod) or not is_ready(pod):
                continue
            try:
                await proved(pod)
            except RollFailedError:
                with suppress(KeyturnError):
                    await self._put_back()
                raise
            asked.add(uid)

    async def _put_back(self) -> None:
        """Keep pods that serve still from being replaced by more that do not: the template is again as the old pods have it.

        What comes next is not known here: the rollback rolls under another name, and a run that dies before it is followed
        by one that rolls anew. Pausing would do as well, and stay when nobody comes.
        """
        pods = await self._objects.pods(await self._read(), self._others)
        left = {mark_in(pod, self._credential) for pod in pods if is_there(pod) and not is_ending(pod)} - {self._rollout}
        if len(left) != 1:
            return
        before = left.pop() or None
        for _ in range(_TRIES):
            seen = await self._read()
            if not self._is_told(seen) or await self._objects.annotate(seen, mark_name(self._credential), before):
                return
            await self._pause(_CROWDED)

    def _is_told(self, seen: Workload) -> bool:
        return mark_of(seen.content, self._credential) == self._rollout

    def _is_new(self, pod: Object) -> bool:
        return is_there(pod) and not is_ending(pod) and mark_in(pod, self._credential) == self._rollout

    async def _wait_for_the_version(self, seen: Workload) -> None:
        patience = self._patience
        await self._given.wait(seen.template, self._credential, self._version, patience.sync, patience.every.total_seconds())
        await self._pause(patience.settle.total_seconds())  # kubelets hear of it a little later

    async def _read(self) -> Workload:
        return await self._objects.workload(self._workload)

    def _failed(self, sentence: str) -> RollFailedError:
        kind, _, name = self._workload.partition("/")
        return RollFailedError(
            f"{self._workload} was not rolled: {sentence}",
            remedy=f"look at it: `kubectl rollout status {kind} {name}`, and at the events of its pods",
        )
