"""Proxies of this machine that something else restarts: systemd, another process manager. One command for each member.

Each is started by `keyturn exec --state FILE -- PROGRAM`, which reads the current keys, writes down which they are, and
becomes the program. So a restart is a roll, and the file tells, with the process that it names, what a member has loaded.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import ClassVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyturn.durations import Duration, text
from keyturn.errors import RollFailedError
from keyturn.fleets.drain import Drain
from keyturn.fleets.launched import Launched, read_launched
from keyturn.fleets.restart import Restart
from keyturn.http_answers import no_cookies
from keyturn.model import Finding, Member, VersionRef
from keyturn.references import AbsolutePath, Address, Resolver, SecretReference

_ANSWER = 10.0  # seconds


class RestartedMember(BaseModel):
    """`url`: the proxy itself. `restart`: a program and its arguments, no shell. `state`: as `--state` was told.

    `before` and `after`, as `restart`: what takes it out of the balancer, and what puts it back where its restart does not.
    Each may be run again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: Address
    restart: tuple[str, ...] = Field(min_length=1)
    state: AbsolutePath
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _comes_back(self) -> RestartedMember:
        if self.after and not self.before:
            raise ValueError("after puts back what before has taken out: set both")
        return self


class CommandFleet:
    """Members that a command restarts. keyturn has to run on their machine, as a user who may run it and read the state.

    A member that ends loses connections which it has not read yet, so with `before` the balancer is told first. Without, it
    has to try refused connections on another member (deployments/Caddyfile), and a busy machine costs requests.
    """

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "serving": ("each member's state file, GET /health/readiness", "to read the file"),
        "roll": (
            "each member's commands before, restart and after, one member after the other",
            "to run them, and to write beside the state file",
        ),
    }

    class Settings(BaseModel):
        """`roll_timeout` covers one member: its last requests and its start. `master_key` is for the canary.

        `drain`: how long is waited after `before` and after `after`, for that is how long a balancer takes to notice.
        """

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        members: tuple[RestartedMember, ...] = Field(min_length=1)
        master_key: SecretReference
        drain: Duration = timedelta(seconds=5)
        roll_timeout: Duration = timedelta(minutes=10)
        poll_interval: Duration = timedelta(seconds=1)

        @model_validator(mode="after")
        def _members_differ(self) -> CommandFleet.Settings:
            for each in ("url", "state", "restart", "before", "after"):
                found = [told for member in self.members if (told := getattr(member, each))]
                if len(set(found)) < len(found):
                    raise ValueError(f"two members have the same {each}: each needs its own")
            return self

    def __init__(
        self, settings: Settings, resolve: Resolver, is_busy: Callable[[Member], Awaitable[bool]] | None = None
    ) -> None:
        """`is_busy`: what else tells that a member is being restarted at the moment."""
        self.settings = settings
        self._is_busy = is_busy
        self._by_name = {urlsplit(each.url).netloc + urlsplit(each.url).path: each for each in settings.members}
        self._http = httpx.AsyncClient(timeout=_ANSWER, trust_env=False, cookies=no_cookies())

    async def members(self) -> Sequence[Member]:
        return tuple(Member(name=name, url=each.url, control=str(each.state)) for name, each in self._by_name.items())

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        """What the running program was started with, once it says that it is ready, and the balancer was told so."""
        return None if self._drain_of(member).is_out else await self._serves(member, credential)

    async def _serves(self, member: Member, credential: str) -> VersionRef | None:
        loaded = self._loaded(member)
        if loaded is None or await self._readiness(member) != "200":
            return None
        # Again: it may have been restarted while it was asked.
        return loaded.versions.get(credential) if loaded.runs else None

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        """Restart it, and wait until it serves this version. Repeated, also after the death of who began it, it only waits.

        It is out of the balancer meanwhile, where `before` is set; one that fails is put back if it is ready all the same.
        RollFailedError: it does not serve it within `roll_timeout`, or a command failed, or cannot be run.
        """
        drain, failure = self._drain_of(member), ""
        over = asyncio.get_running_loop().time() + self.settings.roll_timeout.total_seconds()
        try:
            async with drain.alone(over, self.settings.poll_interval.total_seconds()):
                try:
                    async with asyncio.timeout_at(over):
                        await self._until_it_serves(member, credential, version, drain)
                except (RollFailedError, OSError):  # TimeoutError is one
                    if await self._readiness(member) == "200":
                        with suppress(RollFailedError, OSError):  # what went wrong first is told
                            await drain.put_back()
                    raise
                await drain.put_back()
        except TimeoutError:
            raise RollFailedError(
                f"{member.name} does not serve the new key of {credential} after {text(self.settings.roll_timeout)}",
                remedy="look at its log, or raise roll_timeout",
            ) from None
        except OSError as error:
            failure = type(error).__name__
        if failure:
            raise RollFailedError(
                f"no restart of {member.name} can be written down beside its state ({failure})",
                remedy="let keyturn write in the folder of its state file",
            )

    async def _until_it_serves(self, member: Member, credential: str, version: VersionRef, drain: Drain) -> None:
        settling, restart = self.settings.roll_timeout.total_seconds() / 2, self._restart_of(member)
        left, restarted = not drain.is_set, False
        while await self._serves(member, credential) != version:
            loaded = self._loaded(member)
            starts = loaded is not None and loaded.versions.get(credential) == version
            # Down, right after a restart: it reads its keys, and has not said yet which they are.
            down = loaded is None and restart.was_begun(version.fingerprint, settling)
            if not (restarted or starts or down or await self._is_under_way(member, restart)):
                if not left:
                    await drain.take_out()
                    left = True
                    continue  # somebody else may have restarted it meanwhile
                code = await restart.run(version.fingerprint)
                if code:
                    raise RollFailedError(
                        f"the restart command of {member.name} ended with code {code}",
                        remedy=f"run it by hand and look; it begins with {self._by_name[member.name].restart[0]}",
                    )
                restarted = code is not None
            await asyncio.sleep(self.settings.poll_interval.total_seconds())

    async def _is_under_way(self, member: Member, restart: Restart) -> bool:
        return restart.is_under_way() or (self._is_busy is not None and await self._is_busy(member))

    async def preflight(self, credential: str) -> Sequence[Finding]:
        found = await asyncio.gather(*(self._examine(member, credential) for member in await self.members()))
        findings = [finding for findings in found for finding in findings]
        if len(self._by_name) < 2:
            findings.append(
                Finding("members", None, "there is only one: requests are lost while it is rolled", "add a second member")
            )
        return findings

    async def aclose(self) -> None:
        await self._http.aclose()

    def _loaded(self, member: Member) -> Launched | None:
        loaded = read_launched(self._by_name[member.name].state)
        return loaded if loaded is not None and loaded.runs else None

    def _drain_of(self, member: Member) -> Drain:
        each = self._by_name[member.name]
        return Drain(member.name, each.state, each.before, each.after, self.settings.drain.total_seconds())

    def _restart_of(self, member: Member) -> Restart:
        each = self._by_name[member.name]
        return Restart(each.state, each.restart)

    async def _examine(self, member: Member, credential: str) -> Sequence[Finding]:
        each = self._by_name[member.name]
        loaded, found = self._loaded(member), shutil.which(each.restart[0])
        serves = loaded is not None and credential in loaded.versions
        readiness = await self._readiness(member)
        launcher = "start it with `keyturn exec --state` and this keyturn.yaml, with the path that is its `state` here"
        findings = [
            Finding(
                f"{member.name}: state",
                loaded is not None,
                "" if loaded else f"{each.state} names no running process",
                launcher,
            ),
            Finding(
                f"{member.name}: credential", serves, f"it {'has' if serves else 'does not have'} {credential}", launcher
            ),
            Finding(
                f"{member.name}: restart command",
                found is not None,
                "" if found else f"{each.restart[0]} is not there",
                "name it with its path",
            ),
            Finding(
                f"{member.name}: proxy",
                readiness == "200",
                f"readiness answers {readiness}",
                "is the member's url the proxy itself?",
            ),
            *self._drain_of(member).examine(),
        ]
        if not os.access(each.state.parent, os.W_OK):
            findings.append(
                Finding(
                    f"{member.name}: state folder",
                    False,
                    f"{each.state.parent} cannot be written",
                    "let keyturn write there",
                )
            )
        return findings

    async def _readiness(self, member: Member) -> str:
        """The status that its readiness answers, or why there is none."""
        try:
            async with self._http.stream("GET", f"{member.url}/health/readiness") as answer:
                return str(answer.status_code)
        except httpx.HTTPError as error:
            return type(error).__name__
