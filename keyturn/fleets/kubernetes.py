"""Proxies that run in a Kubernetes cluster: its controllers replace their pods, and keyturn says when, waits, and counts."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from keyturn.delivery.variable_names import Names
from keyturn.durations import Duration
from keyturn.errors import KeyturnError, RollFailedError
from keyturn.fleets.kubernetes_given import WhatPodsRead
from keyturn.fleets.kubernetes_objects import Object, Objects, names_of
from keyturn.fleets.kubernetes_preflight import Preflight
from keyturn.fleets.kubernetes_roll import Patience, Roll
from keyturn.kubernetes.client import KubernetesClient
from keyturn.kubernetes.pods import is_ending, is_ready, is_there, mark_in, name_of, url_of
from keyturn.kubernetes.rollout import Kind, mark_of
from keyturn.kubernetes.settings import ConnectionSettings
from keyturn.model import Finding, Member, VersionRef
from keyturn.references import Resolver, SecretReference

_ROLLOUT = re.compile(r"([0-9a-f]{16})\..+")  # Journal.rollout


class KubernetesFleet:
    """The fleet kind `kubernetes`, which is `Replacing`: Deployments, StatefulSets and DaemonSets of one namespace.

    A pod has loaded what its template was marked for, since the template is marked only after the Secret held that, and as
    long as the Secret holds it still. Nothing else is believed, and nothing is remembered.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("variables",)
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "serving": (
            "GET pods, of each its workload and the Secret that it is given",
            "list, get on pods, get on the workloads and on those Secrets",
        ),
        "roll": (
            "PATCH each workload's pod template (one annotation, resourceVersion), then GET it and its pods until done",
            "list, get, patch on the workloads, list on pods, get on those Secrets",
        ),
    }

    class Settings(ConnectionSettings):
        """Where the cluster is: as for the store `kubernetes_secret`. One fleet for each cluster and namespace.

        `selector`: of the workloads' labels, as `kubectl -l` takes it. `kinds`: of workloads that are rolled; none: all
        three. `container`: the one that LiteLLM runs in. `reads`: `at_start` where programs read their store by themselves,
        in a way that is not seen in the template. `longest_request`: what a pod has to be let finish, for preflight.
        `roll_timeout`: for one workload. `sync_timeout`: how long an operator may take to write the Secret. `settle`: how
        long kubelets may take to see it. `master_key` is for the canary, which calls the pods at `port`.
        """

        namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
        selector: Annotated[str, Field(pattern=r"^[A-Za-z0-9!][A-Za-z0-9_./,=!() -]*$", max_length=1000)]
        kinds: tuple[Kind, ...] = ()
        master_key: SecretReference
        port: int = Field(default=4000, ge=1, le=65535)
        container: str | None = None
        reads: Literal["auto", "at_start"] = "auto"
        longest_request: Duration = timedelta(minutes=1)
        roll_timeout: Duration = timedelta(minutes=15)
        sync_timeout: Duration = timedelta(minutes=10)
        settle: Duration = timedelta(seconds=5)
        poll_interval: Duration = timedelta(seconds=2)

    def __init__(
        self,
        settings: Settings,
        resolve: Resolver,
        variables: Callable[[str], Names | None],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._client = KubernetesClient(settings, resolve)
        self._objects = Objects(self._client, settings.namespace, settings.selector, settings.kinds or tuple(Kind))
        self._given = WhatPodsRead(
            self._objects, variables, settings.container, at_start=settings.reads == "at_start", pause=pause, now=now
        )
        self._pause, self._now = pause, now

    async def preflight(self, credential: str) -> Sequence[Finding]:
        """UnavailableError while a workload is being rolled, by whomever: that passes."""
        settings = self.settings
        look = Preflight(self._client, self._objects, self._given, settings.container, settings.longest_request)
        return await look.of(credential)

    async def members(self) -> Sequence[Member]:
        """The pods of the workloads, and pods with the same labels that none of them keeps; those that serve first."""
        look = await self._objects.look()
        pods = {name_of(pod): pod for found in (*look.pods.values(), look.strangers) for pod in found if is_there(pod)}
        serving_first = sorted(pods.values(), key=lambda pod: (is_ending(pod) or not is_ready(pod), name_of(pod)))
        return [self._member(pod) for pod in serving_first]

    async def workloads(self) -> Sequence[str]:
        return [each.name for each in await self._objects.workloads()]

    async def was_rolled(self, workload: str, credential: str, rollout: str) -> bool:
        return mark_of((await self._objects.workload(workload)).content, credential) == rollout

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        """What its template was marked for: of a pod that is of its workload's newest template, and is ready or ending, and
        whose Secret holds that value now. None for any other, and where any of it cannot be told."""
        try:
            return await self._serving(member.name.removeprefix(_POD), credential)
        except KeyturnError:
            return None

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        """Not called: a pod is never rolled by itself."""
        raise RollFailedError(f"{member.name} is replaced by its workload", remedy="roll the workload")

    async def replace(
        self,
        workload: str,
        credential: str,
        version: VersionRef,
        rollout: str,
        proved: Callable[[Member], Awaitable[None]],
    ) -> None:
        """Replacing. UnavailableError, and nothing is begun, where the pods' Secret does not hold the version in time."""
        settings = self.settings
        patience = Patience(settings.roll_timeout, settings.sync_timeout, settings.settle, settings.poll_interval)
        others = names_of(await self._objects.workloads())
        roll = Roll(
            self._objects,
            self._given,
            patience,
            workload,
            credential,
            version,
            rollout,
            others,
            pause=self._pause,
            now=self._now,
        )
        await roll.begin()
        await roll.finish(lambda pod: proved(self._member(pod)))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _serving(self, name: str, credential: str) -> VersionRef | None:
        pod = await self._objects.pod(name)
        if pod is None or not is_there(pod) or not (is_ready(pod) or is_ending(pod)):
            return None
        keeper, mark = await self._objects.keeper_of(pod), mark_in(pod, credential)
        found = _ROLLOUT.fullmatch(mark)
        if keeper is None or found is None or mark_of(keeper.content, credential) != mark:
            return None
        version = VersionRef("", found[1])
        return version if await self._given.holds(pod, credential, version) else None

    def _member(self, pod: Object) -> Member:
        return Member(name=f"{_POD}{name_of(pod)}", url=url_of(pod, self.settings.port))


_POD = "pod "
