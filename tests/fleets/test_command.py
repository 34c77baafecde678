"""The fleet whose members a command restarts."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.errors import RollFailedError
from keyturn.fleets.command import CommandFleet
from keyturn.fleets.launched import Launched, read_launched, start_time
from keyturn.fleets.restart import Restart
from keyturn.material import KeyMaterial
from keyturn.model import Member, VersionRef
from keyturn.ports import ProxyFleet
from keyturn.testing.processes import free_port
from tests.test_house import ROOT

real = pytest.mark.real
PROGRAM = Path(__file__).with_name("launched_member.py")


class Scene:
    """One member, and the value that it finds when it starts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.command = [sys.executable, "-S", str(PROGRAM), "restart", str(folder), str(self.port)]

    def tell(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def turn(self) -> VersionRef:
        """Another value is CURRENT from now on."""
        version = VersionRef("v", KeyMaterial("sk-" + secrets.token_hex(24)).fingerprint())
        self.tell("fingerprint", version.fingerprint)
        return version

    def start(self) -> None:
        subprocess.run(self.command, check=True)
        self.tell("restarts", "")

    @property
    def restarts(self) -> int:
        return len((self.folder / "restarts").read_text().splitlines())

    @property
    def loaded(self) -> Launched | None:
        return read_launched(self.folder / "state")

    def settings(self, **other: Any) -> dict[str, Any]:
        member = {"url": f"http://127.0.0.1:{self.port}", "restart": self.command, "state": str(self.folder / "state")}
        return {"members": [member], "master_key": "env:MASTER", "poll_interval": timedelta(seconds=0.05), **other}

    def fleet(self, **other: Any) -> CommandFleet:
        async def resolve(reference: str) -> KeyMaterial:
            raise AssertionError(f"{reference} is not needed")

        return CommandFleet(CommandFleet.Settings.model_validate(self.settings(**other)), resolve)

    def end(self) -> None:
        if (loaded := self.loaded) is not None and loaded.runs:
            os.kill(loaded.pid, signal.SIGKILL)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.end()


async def serving(scene: Scene, fleet: CommandFleet) -> tuple[VersionRef, Member]:
    """A member that is up with a value of its own."""
    version = scene.turn()
    scene.start()
    (member,) = await fleet.members()
    await until(fleet, member, version)
    return version, member


async def until(fleet: CommandFleet, member: Member, version: VersionRef) -> None:
    async with asyncio.timeout(30):
        while await fleet.serving(member, "openai-prod") != version:  # noqa: ASYNC110  # another process's state
            await asyncio.sleep(0.02)


# Settings ---------------------------------------------------------------------------------------------------------------


def test_it_is_a_fleet(scene: Scene) -> None:
    port: ProxyFleet = scene.fleet()  # mypy: it is one
    assert port is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "state"}, "absolute path"),
        ({"restart": []}, "at least 1 item"),
        ({"url": "http://user:word@127.0.0.1:1"}, "without a user name"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, Any], words: str, scene: Scene) -> None:
    settings = scene.settings()
    settings["members"] = [settings["members"][0] | change]
    with pytest.raises(ValidationError, match=words):
        CommandFleet.Settings.model_validate(settings)


@pytest.mark.parametrize("same", ["url", "state", "restart"])
def test_two_members_share_nothing(same: str, scene: Scene) -> None:
    settings = scene.settings()
    one = settings["members"][0]
    other = {"url": "http://127.0.0.1:1", "restart": ["other"], "state": "/other", same: one[same]}
    settings["members"] = [one, other]
    with pytest.raises(ValidationError, match="each needs its own"):
        CommandFleet.Settings.model_validate(settings)


# What is written down ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"pid": 1}',
        '{"pid": true, "started": 1, "credentials": {}}',
        '{"pid": 1, "started": -1, "credentials": {}}',
        '{"pid": 1, "started": 1, "credentials": {"x": {"id": "v"}}}',
        "\x00",
    ],
)
async def test_a_state_that_is_none_tells_nothing(text: str, scene: Scene) -> None:
    scene.tell("state", text)
    fleet = scene.fleet()
    (member,) = await fleet.members()
    assert await fleet.serving(member, "openai-prod") is None


def test_a_later_process_of_the_same_number_is_another_one(scene: Scene) -> None:
    mine: dict[str, Any] = {"pid": os.getpid(), "started": start_time(os.getpid()), "credentials": {}}
    for text, runs in ((mine, True), (mine | {"started": 1}, False)):
        scene.tell("state", json.dumps(text))
        assert scene.loaded is not None
        assert scene.loaded.runs is runs


def test_a_process_that_ended_and_was_not_waited_for_does_not_run() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert start_time(process.pid) is None


# Rolling ----------------------------------------------------------------------------------------------------------------


@real
async def test_a_roll_is_one_restart_and_repeated_none(scene: Scene) -> None:
    fleet = scene.fleet()
    _, member = await serving(scene, fleet)
    new = scene.turn()
    await fleet.roll(member, "openai-prod", new)
    assert await fleet.serving(member, "openai-prod") == new
    await fleet.roll(member, "openai-prod", new)
    assert scene.restarts == 1
    assert await fleet.serving(member, "another") is None


@real
async def test_two_workers_at_once_are_one_restart(scene: Scene) -> None:
    fleet = scene.fleet()
    _, member = await serving(scene, fleet)
    scene.tell("stopping", "0.3")
    scene.tell("slow", "0.3")
    new = scene.turn()
    await asyncio.gather(*(each.roll(member, "openai-prod", new) for each in (fleet, scene.fleet(), scene.fleet())))
    assert scene.restarts == 1


@real
@pytest.mark.parametrize(("stopping", "slow"), [("1", "0"), ("0", "1")], ids=["in the command", "before the program reads"])
async def test_who_goes_on_after_a_kill_waits_for_the_restart_under_way(stopping: str, slow: str, scene: Scene) -> None:
    """The worker is a process of its own, and is killed once the command runs, or has ended."""
    _, member = await serving(scene, scene.fleet())
    scene.tell("stopping", stopping)
    scene.tell("slow", slow)
    new = scene.turn()
    code = (
        "import asyncio, json, sys; from tests.fleets.test_command import CommandFleet, VersionRef\n"
        "fleet = CommandFleet(CommandFleet.Settings.model_validate(json.loads(sys.argv[1])), None)\n"
        "async def main():\n"
        "    (member,) = await fleet.members()\n"
        "    await fleet.roll(member, 'openai-prod', VersionRef('v', sys.argv[2]))\n"
        "asyncio.run(main())\n"
    )
    settings = json.dumps(scene.settings(poll_interval="1s"))
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", code, settings, new.fingerprint, cwd=ROOT)
    try:
        async with asyncio.timeout(30):
            while not scene.restarts or (stopping == "0" and scene.loaded is not None and scene.loaded.runs):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        worker.kill()
        await worker.wait()
    await scene.fleet().roll(member, "openai-prod", new)
    assert scene.restarts == 1


@real
async def test_a_restart_that_was_only_written_down_is_made(scene: Scene) -> None:
    """Its worker died with the command, and the old program runs on: nobody waits for what will not come."""
    fleet = scene.fleet()
    _, member = await serving(scene, fleet)
    new = scene.turn()
    scene.tell("state.restart", json.dumps({"fingerprint": new.fingerprint, "pid": 1, "started": 1}))
    await fleet.roll(member, "openai-prod", new)
    assert scene.restarts == 1


@real
async def test_a_command_that_fails_is_told_and_the_member_serves_on(scene: Scene) -> None:
    fleet = scene.fleet()
    old, member = await serving(scene, fleet)
    scene.tell("code", "7")
    with pytest.raises(RollFailedError, match="ended with code 7"):
        await fleet.roll(member, "openai-prod", scene.turn())
    assert await fleet.serving(member, "openai-prod") == old


@real
async def test_a_member_that_comes_back_with_another_key_is_not_believed(scene: Scene) -> None:
    fleet = scene.fleet(roll_timeout="2s")
    _, member = await serving(scene, fleet)
    wanted = scene.turn()
    scene.turn()
    with pytest.raises(RollFailedError, match="does not serve the new key"):
        await fleet.roll(member, "openai-prod", wanted)
    assert scene.restarts == 1


@real
async def test_a_program_that_is_not_there_is_told(scene: Scene) -> None:
    _, member = await serving(scene, scene.fleet())
    scene.command = ["/nowhere/restart"]
    with pytest.raises(RollFailedError, match=r"ended with code 1.*/nowhere/restart"):
        await scene.fleet().roll(member, "openai-prod", scene.turn())


@real
async def test_the_command_is_not_given_our_environment(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ADMIN_KEY", secrets.token_hex(8))
    scene.command = ["/bin/sh", "-c", f"env > {scene.folder}/environment"]
    assert await Restart(scene.folder / "state", scene.command).run("0" * 16) == 0
    written = (scene.folder / "environment").read_text()
    assert "PATH=" in written
    assert "OPENAI_ADMIN_KEY" not in written


@real
async def test_a_command_that_leaves_a_program_behind_holds_nothing(scene: Scene) -> None:
    """A script that starts the program itself: the lock is not the program's."""
    scene.command = ["/bin/sh", "-c", f"sleep 60 & echo $! > {scene.folder}/left"]
    restart = Restart(scene.folder / "state", scene.command)
    try:
        assert await restart.run("0" * 16) == 0
        assert not restart.is_under_way()
        assert await restart.run("0" * 16) == 0
    finally:
        for line in (scene.folder / "left").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(line), signal.SIGKILL)


# Looking ----------------------------------------------------------------------------------------------------------------


@real
async def test_preflight_of_a_good_member_finds_nothing_wrong(scene: Scene) -> None:
    fleet = scene.fleet()
    await serving(scene, fleet)
    findings = await fleet.preflight("openai-prod")
    assert [finding for finding in findings if finding.ok is False] == []
    assert [finding.what.rpartition(": ")[2] for finding in findings if finding.ok is None] == ["balancer", "members"]


async def test_preflight_names_what_is_not_there(scene: Scene) -> None:
    scene.command = ["/nowhere/restart"]
    wrong = [finding for finding in await scene.fleet().preflight("openai-prod") if finding.ok is False]
    assert [finding.what.partition(": ")[2] for finding in wrong] == ["state", "credential", "restart command", "proxy"]
    assert all(finding.remedy for finding in wrong)
