"""The members of a fleet of containers: which there are, where each is asked, and what each says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

from keyturn.delivery.keys import Variable
from keyturn.durations import text
from keyturn.errors import RollFailedError
from keyturn.fleets.docker_container import IN_THE_MAKING, Container, host_of
from keyturn.fleets.docker_engine import Engine, Trust
from keyturn.fleets.docker_settings import DockerSettings
from keyturn.fleets.docker_state import StateFile
from keyturn.http_answers import no_cookies
from keyturn.model import VersionRef

_ANSWER = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Pair:
    """A member: the container that bears its name, and the one that is about to. One of them may be missing."""

    name: str
    old: Container | None
    new: Container | None

    @property
    def serves(self) -> Container | None:
        """Who is asked, while there are two."""
        both = [each for each in (self.old, self.new) if each is not None]
        return next((each for each in both if each.runs), both[0] if both else None)


class Members:
    """`keys`: how a credential is given to a program. `clock` and `pause` tell and spend the time of a roll; `now`:
    seconds since 1970."""

    def __init__(
        self,
        settings: DockerSettings,
        keys: Callable[[str], Variable],
        transport: httpx.AsyncBaseTransport | None,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
        now: Callable[[], float],
    ) -> None:
        self.settings, self.keys, self.clock, self.pause = settings, keys, clock, pause
        tls = settings.tls
        trust = Trust(tls.ca, tls.certificate, tls.key) if settings.engine.startswith("https:") else None
        self.engine = Engine(settings.engine, trust, transport)
        self.state = None if settings.state is None else StateFile(self.engine, settings.state, now)
        self._http = httpx.AsyncClient(transport=transport, timeout=_ANSWER, trust_env=False, cookies=no_cookies())

    async def pairs(self) -> list[Pair]:
        """Every member, in the order of their names."""
        ids = await self.engine.containers(self.settings.selector)
        found = [Container(each) for each in await asyncio.gather(*map(self.engine.inspect, ids)) if each is not None]
        names = sorted({each.successor_of or each.name for each in found})
        return list(await asyncio.gather(*map(self.pair, names)))

    async def pair(self, name: str) -> Pair:
        """One member, as it is now.

        The successor is looked at first: it may be given the name meanwhile, and then it is found under that, if not under
        both; the other way round it might be found under neither.
        """
        new = await self._successor(name)
        told = await self.engine.inspect(name)
        old = None if told is None else Container(told)
        if old is not None and old.name != name:
            old = None  # the name is the beginning of an id
        return Pair(name, old, None if new is not None and old is not None and new.id == old.id else new)

    async def _successor(self, name: str) -> Container | None:
        told = await self.engine.inspect(f"{name}{IN_THE_MAKING}")
        return Container(told) if told is not None and Container(told).successor_of == name else None

    async def version_of(self, container: Container, credential: str) -> VersionRef | None:
        """What its program was given; None: that cannot be known."""
        if self.state is not None:
            return (await self.state.loaded(container) or {}).get(credential)
        value = container.value_of(credential, self.keys(credential).names)
        return None if value is None else VersionRef("", value)

    def url(self, container: Container) -> str:
        """Where it is asked itself; "" while it has no address."""
        settings = self.settings
        if container.network_mode == "host":
            there = f"{host_of(settings.engine)}:{settings.port}"
        elif settings.address == "published":
            there = container.published(settings.port, host_of(settings.engine))
        else:
            there = container.address(settings.port, settings.network)
        return f"{settings.scheme}://{there}" if there else ""

    async def is_ready(self, container: Container) -> bool:
        """It runs, its health check (where it has one) is content, and its readiness answers 200."""
        return container.runs and container.health in ("", "healthy") and await self.readiness(container) == "200"

    async def readiness(self, container: Container) -> str:
        """The status that its readiness answers, or why there is none."""
        url = self.url(container)
        if not url:
            return "nothing: it has no address"
        try:
            async with self._http.stream("GET", f"{url}/health/readiness") as answer:
                return str(answer.status_code)
        except httpx.HTTPError as error:
            return type(error).__name__

    async def aclose(self) -> None:
        await self.engine.aclose()
        await self._http.aclose()

    def late(self, member: str, credential: str, why: str) -> RollFailedError:
        """The words for a member whose time is over."""
        return RollFailedError(
            f"{member} does not serve the new key of {credential} after {text(self.settings.roll_timeout)}: {why}",
            remedy="look at the container's log, or raise roll_timeout",
        )

    @property
    def grace(self) -> int:
        """Whole seconds that a container is given to end its requests."""
        return max(1, round(self.settings.stop_timeout.total_seconds()))
