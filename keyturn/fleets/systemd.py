"""Instances of a template unit of systemd on this machine, restarted one after the other by `systemctl`.

Each is started by `keyturn exec --state FILE -- PROGRAM` (deployments/litellm@.service): the machinery is that of
keyturn.fleets.command. systemd itself tells beside whether a restart is under way, also one whose `systemctl` has died.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyturn.durations import Duration, text
from keyturn.fleets.command import CommandFleet, RestartedMember
from keyturn.fleets.restart import GIVEN
from keyturn.model import Finding, Member, VersionRef
from keyturn.references import Resolver, SecretReference

_ANSWER = 30.0  # seconds
_LARGEST = 65536  # bytes
_ASKED = ("LoadState", "ActiveState", "Job", "NeedDaemonReload", "Restart", "KillMode", "TimeoutStopUSec")
_ON_THE_WAY = ("activating", "deactivating", "reloading")
_LONG_ENOUGH = timedelta(seconds=90)  # LiteLLM ends the streams that are under way; docs/litellm.md

# How systemd writes a span (systemd.time(7)): "1min 30s"; `infinity` is one, too.
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|min|h|d|w|month|y)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800, "month": 2629800, "y": 31557600}


class SystemdFleet:
    """Instances of one unit. keyturn runs on their machine, as a user who may restart them and read their state files.

    With `before` one is out of the balancer while it restarts (docs/systemd.md); without, see CommandFleet.
    """

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "serving": ("each instance's state file, GET /health/readiness", "to read the file"),
        "roll": (
            "systemctl show; `before`, systemctl restart UNIT@INSTANCE, `after`, one instance after the other",
            "to manage these units (polkit, or --user), and to write beside the state file",
        ),
    }

    class Settings(BaseModel):
        """`unit`: the template. `%i` in `url`, `state`, `before` and `after` is the instance, as in the unit file."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        unit: str = Field(pattern=r"^[A-Za-z0-9:_.-]{1,100}@\.service$")
        instances: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.-]{1,100}$")], ...] = Field(min_length=1)
        url: str = "http://127.0.0.1:%i"
        state: str = "/var/lib/keyturn/litellm-%i.json"
        user: bool = False
        before: tuple[str, ...] = ()
        after: tuple[str, ...] = ()
        drain: Duration = timedelta(seconds=5)
        master_key: SecretReference
        roll_timeout: Duration = timedelta(minutes=10)
        poll_interval: Duration = timedelta(seconds=1)

        @model_validator(mode="after")
        def _each_is_a_member(self) -> SystemdFleet.Settings:
            if len(self.instances) > 1 and not ("%i" in self.url and "%i" in self.state):
                raise ValueError("url and state need %i, the instance: each has its own")
            self.as_commands()
            return self

        def name_of(self, instance: str) -> str:
            """The unit of an instance."""
            return self.unit.replace("@.", f"@{instance}.")

        def as_commands(self) -> CommandFleet.Settings:
            """The same as members that commands restart."""
            systemctl = ("systemctl", *(("--user",) if self.user else ()))
            return CommandFleet.Settings(
                members=tuple(
                    RestartedMember.model_validate(
                        {
                            "url": self.url.replace("%i", each),
                            "state": self.state.replace("%i", each),
                            "restart": (*systemctl, "restart", self.name_of(each)),
                            "before": tuple(word.replace("%i", each) for word in self.before),
                            "after": tuple(word.replace("%i", each) for word in self.after),
                        }
                    )
                    for each in self.instances
                ),
                master_key=self.master_key,
                drain=self.drain,
                roll_timeout=self.roll_timeout,
                poll_interval=self.poll_interval,
            )

    def __init__(self, settings: Settings, resolve: Resolver) -> None:
        self.settings = settings
        commands = settings.as_commands()
        self._fleet = CommandFleet(commands, resolve, self._is_on_the_way)
        self._units = {str(each.state): each.restart[-1] for each in commands.members}

    async def members(self) -> Sequence[Member]:
        return await self._fleet.members()

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        """What the running program was started with, once it says that it is ready."""
        return await self._fleet.serving(member, credential)

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        """As CommandFleet's: one restart, whoever dies. It also waits for one that systemd is at."""
        await self._fleet.roll(member, credential, version)

    async def preflight(self, credential: str) -> Sequence[Finding]:
        findings = list(await self._fleet.preflight(credential))
        for unit in self._units.values():
            findings += _of_unit(unit, await self._show(unit))
        return findings

    async def aclose(self) -> None:
        await self._fleet.aclose()

    async def _is_on_the_way(self, member: Member) -> bool:
        told = await self._show(self._units[member.control])
        return told.get("ActiveState") in _ON_THE_WAY or told.get("Job", "0") not in ("", "0")

    async def _show(self, unit: str) -> dict[str, str]:
        """What systemd tells of a unit; nothing where it cannot be asked. Of its environment nothing is asked."""
        words = ["systemctl", *(["--user"] if self.settings.user else []), "show", f"--property={','.join(_ASKED)}", unit]
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={name: value for name, value in os.environ.items() if name in GIVEN},
            )
        except OSError:
            return {}
        try:
            told, _ = await asyncio.wait_for(process.communicate(), _ANSWER)
        except TimeoutError:
            process.kill()
            await process.wait()
            return {}
        lines = told[:_LARGEST].decode(errors="replace").splitlines() if process.returncode == 0 else []
        return {name: value for name, found, value in (line.partition("=") for line in lines) if found and name in _ASKED}


def _of_unit(unit: str, told: Mapping[str, str]) -> list[Finding]:
    if not told:
        return [Finding(f"{unit}: systemd", None, "it cannot be asked", "is systemctl there, and is `user` right?")]
    loaded, stopping = told.get("LoadState") == "loaded", span(told.get("TimeoutStopUSec", ""))
    findings = [
        Finding(f"{unit}: unit", loaded, told.get("LoadState", "unknown"), "install the unit file: docs/systemd.md"),
        Finding(f"{unit}: state", told.get("ActiveState") == "active", told.get("ActiveState", "unknown"), "start it"),
    ]
    if told.get("NeedDaemonReload") == "yes":
        words = "its file was changed: a restart takes the new one"
        findings.append(Finding(f"{unit}: unit file", None, words, "run systemctl daemon-reload, and look"))
    if told.get("Restart") == "no":
        findings.append(Finding(f"{unit}: Restart=", None, "one that ends stays down", "set Restart=always"))
    if told.get("KillMode") in ("none", "process"):
        words = "programs that it has started are left behind"
        findings.append(Finding(f"{unit}: KillMode=", None, words, "set KillMode=mixed"))
    if stopping is not None and stopping < _LONG_ENOUGH:
        words = f"{text(stopping)}: a stream may last {text(_LONG_ENOUGH)}"
        findings.append(Finding(f"{unit}: TimeoutStopSec=", None, words, "set TimeoutStopSec=100s"))
    return findings


def span(value: str) -> timedelta | None:
    """A span as systemd writes it; None for `infinity`, and for what is none."""
    parts = value.split()
    found = [_PART.fullmatch(each) for each in parts]
    if not parts or None in found:
        return None
    return timedelta(seconds=sum(float(each[1]) * _SECONDS[each[2]] for each in found if each is not None))
