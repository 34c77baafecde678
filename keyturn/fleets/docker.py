"""Containers of Docker Engine, of Docker Compose, or of Podman by its compatible API: rolled one at a time.

Two ways. `roll: restart`: the program is started by `keyturn exec --state FILE`, which reads its keys when the container
starts; a restart is a roll, and the file tells what was read. `roll: recreate`: the key stands in the container's
environment, which is fixed when it is made; a successor with the new one takes its place (keyturn.fleets.docker_moves).

keyturn cannot tell a balancer of a plain container: while one ends it refuses connections, and whatever is before it has to
try another (docs/docker.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar

import httpx

from keyturn.delivery.keys import Variable
from keyturn.errors import KeyturnError, UnavailableError
from keyturn.fleets.docker_findings import examine
from keyturn.fleets.docker_members import Members
from keyturn.fleets.docker_recreate import Recreation
from keyturn.fleets.docker_restart import restart
from keyturn.fleets.docker_settings import DockerSettings
from keyturn.json_object import UnreadableError
from keyturn.model import Finding, Member, VersionRef
from keyturn.references import Resolver


class DockerFleet:
    """Containers found by their labels. Permission needed: the engine's socket, which is root on its machine.

    `keys`: how a credential is given to a program, for `roll: recreate`. `transport`, `clock`, `pause`, `now`: for tests.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("keys",)
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "serving": (
            "GET /containers/json, /containers/ID/json, with roll: restart /containers/ID/archive; each member's "
            "GET /health/readiness",
            "the engine's socket",
        ),
        "roll": (
            "one member after the other: with roll: restart PUT /containers/ID/archive, POST /containers/ID/restart; with "
            "roll: recreate GET /images/NAME/json, POST /containers/create, /networks/NAME/connect, "
            "/containers/ID/{start,stop,rename}, DELETE /containers/ID",
            "the engine's socket",
        ),
    }
    Settings = DockerSettings

    def __init__(
        self,
        settings: DockerSettings,
        resolve: Resolver,
        keys: Callable[[str], Variable],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._members = Members(settings, keys, transport, clock, pause, now)

    async def members(self) -> Sequence[Member]:
        """Also those that do not run: these have no address. UnavailableError where the engine cannot be asked."""
        try:
            pairs = await self._members.pairs()
        except UnreadableError:
            raise _unreadable("its containers") from None
        urls = {each.name: "" if each.serves is None else self._members.url(each.serves) for each in pairs}
        return tuple(Member(name, url, self.settings.engine) for name, url in urls.items())

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        """What the container was made, or started, with, once it says that it is ready; None while there are two."""
        try:
            pair = await self._members.pair(member.name)
            if pair.old is None or pair.new is not None or not pair.old.runs:
                return None
            version = await self._members.version_of(pair.old, credential)
            if version is None or not await self._members.is_ready(pair.old):
                return None
            # Again: it may have been restarted while it was asked.
            again = (await self._members.pair(member.name)).old
            same = again is not None and again.runs and (again.id, again.started_at) == (pair.old.id, pair.old.started_at)
            return version if same else None
        except (KeyturnError, UnreadableError):
            return None

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        """Restart it, or put a successor in its place, and wait until that is ready with this version.

        Quiet where it serves it and nothing is left to do. Repeated, also after the death of who began it, it goes on where
        it stands. RollFailedError: the member is not ready with it within `roll_timeout`, or cannot be; with roll: recreate
        the old container serves then. UnavailableError: the engine, or the store, cannot be asked.
        """
        members, name = self._members, member.name
        try:
            if members.state is None:
                await Recreation(members, name, credential, version).run()
            else:
                await restart(members, members.state, name, credential, version)
        except UnreadableError:
            raise _unreadable(name) from None

    async def preflight(self, credential: str) -> Sequence[Finding]:
        try:
            return await examine(self._members, credential)
        except UnreadableError:
            raise _unreadable("its containers") from None

    async def aclose(self) -> None:
        await self._members.aclose()


def _unreadable(what: str) -> UnavailableError:
    return UnavailableError(f"what the engine tells of {what} is not of its form", remedy="is it a container engine?")
