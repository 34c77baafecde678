"""A member whose balancer is told before it restarts, and when it is back."""

from __future__ import annotations

import asyncio
import os
import secrets
import shlex
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.errors import RollFailedError
from keyturn.fleets import drain as drain_module
from keyturn.fleets.command import CommandFleet
from keyturn.fleets.systemd import SystemdFleet
from keyturn.material import KeyMaterial
from tests.fleets.test_command import Scene, serving

real = pytest.mark.real
KEY = "openai-prod"


class Balanced(Scene):
    """`steps`: what was done to the member, in order. `fail` names one that ends with code 3, and `hang` one that hangs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.restarts_it = self.command
        self.command = self.told_as("restart", shlex.join(self.restarts_it))

    def told_as(self, word: str, then: str = ":") -> list[str]:
        folder = shlex.quote(str(self.folder))
        noted = f"echo {word} >> {folder}/steps; cp {folder}/state {folder}/state-at-{word}"
        return ["/bin/sh", "-c", f"{noted}; test -e {folder}/fail-{word} && exit 3; {then}"]

    @property
    def steps(self) -> list[str]:
        steps = self.folder / "steps"
        return steps.read_text().split() if steps.exists() else []

    def start(self) -> None:
        super().start()
        (self.folder / "steps").write_text("")

    def start_by_hand(self) -> None:
        subprocess.run(self.restarts_it, check=True)

    def settings(self, **other: Any) -> dict[str, Any]:
        told = super().settings(**{"drain": timedelta(seconds=0.05), **other})
        told["members"][0] |= {"before": self.told_as("before"), "after": self.told_as("after")}
        return told

    def fail(self, word: str) -> None:
        self.tell(f"fail-{word}", "")

    def mend(self, word: str) -> None:
        (self.folder / f"fail-{word}").unlink()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Balanced]:
    scene = Balanced(tmp_path)
    yield scene
    scene.end()


# Settings ---------------------------------------------------------------------------------------------------------------


def test_nobody_is_put_back_who_is_not_taken_out(scene: Balanced) -> None:
    settings = scene.settings()
    del settings["members"][0]["before"]
    with pytest.raises(ValidationError, match="set both"):
        CommandFleet.Settings.model_validate(settings)


@pytest.mark.parametrize("word", ["before", "after"])
def test_no_command_is_for_two_members(word: str, scene: Balanced) -> None:
    settings = scene.settings()
    other = {"url": "http://127.0.0.1:1", "restart": ["other"], "state": "/other", "before": ["one"], "after": ["two"]}
    settings["members"].append({**other, word: settings["members"][0][word]})
    with pytest.raises(ValidationError, match=f"two members have the same {word}"):
        CommandFleet.Settings.model_validate(settings)


def test_the_instances_of_a_unit_have_commands_of_their_own() -> None:
    settings = SystemdFleet.Settings.model_validate(
        {
            "unit": "llm@.service",
            "instances": ["4001", "4002"],
            "before": ["touch", "/run/llm/%i.out"],
            "after": ["rm", "-f", "/run/llm/%i.out"],
            "drain": "20s",
            "master_key": "env:MASTER",
        }
    )
    commands = settings.as_commands()
    assert [each.before for each in commands.members] == [("touch", f"/run/llm/{each}.out") for each in ("4001", "4002")]
    assert commands.members[1].after == ("rm", "-f", "/run/llm/4002.out")
    assert commands.drain == timedelta(seconds=20)
    with pytest.raises(ValidationError, match="two members have the same before"):
        SystemdFleet.Settings.model_validate(settings.model_dump() | {"before": ["touch", "/run/llm/out"]})


# Rolling ----------------------------------------------------------------------------------------------------------------


@real
async def test_a_member_is_out_from_before_its_restart_until_it_serves_the_new_key(scene: Balanced) -> None:
    fleet = scene.fleet()
    _, member = await serving(scene, fleet)
    new = scene.turn()
    await fleet.roll(member, KEY, new)
    assert scene.steps == ["before", "restart", "after"]
    assert new.fingerprint not in (scene.folder / "state-at-before").read_text()
    assert new.fingerprint in (scene.folder / "state-at-after").read_text()
    assert await fleet.serving(member, KEY) == new
    await fleet.roll(member, KEY, new)
    assert scene.steps == ["before", "restart", "after"]


@real
async def test_what_the_restart_undoes_needs_no_command_after_it(scene: Balanced) -> None:
    _, member = await serving(scene, scene.fleet())
    settings = scene.settings()
    del settings["members"][0]["after"]
    fleet = CommandFleet(CommandFleet.Settings.model_validate(settings), _no_key)
    new = scene.turn()
    await fleet.roll(member, KEY, new)
    assert scene.steps == ["before", "restart"]
    assert await fleet.serving(member, KEY) == new


@real
async def test_the_balancer_is_given_its_time_before_the_restart_and_after_it(
    scene: Balanced, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[tuple[float, list[str]]] = []

    async def wait(seconds: float) -> None:
        waits.append((seconds, scene.steps))

    fleet = scene.fleet(drain="7s")
    _, member = await serving(scene, fleet)
    monkeypatch.setattr(drain_module, "_pause", wait)
    await fleet.roll(member, KEY, scene.turn())
    assert waits == [(7, ["before"]), (7, ["before", "restart", "after"])]


@real
@pytest.mark.parametrize("restarted", [False, True])
async def test_one_that_is_out_is_not_serving_and_who_goes_on_after_a_death_puts_it_back(
    restarted: bool, scene: Balanced
) -> None:
    fleet = scene.fleet()
    old, member = await serving(scene, fleet)
    scene.tell("state.drain", "out\n")  # a worker died
    assert await fleet.serving(member, KEY) is None
    assert [each.ok for each in await fleet.preflight(KEY) if "balancer" in each.what] == [None]
    await fleet.roll(member, KEY, old if restarted else scene.turn())
    assert scene.steps == (["after"] if restarted else ["before", "restart", "after"])
    assert await fleet.serving(member, KEY) is not None


@real
async def test_two_workers_are_one_restart_and_none_while_the_balancer_has_it(scene: Balanced) -> None:
    fleet = scene.fleet()
    _, member = await serving(scene, fleet)
    scene.tell("stopping", "0.2")
    new = scene.turn()
    await asyncio.gather(*(each.roll(member, KEY, new) for each in (fleet, scene.fleet(), scene.fleet())))
    assert scene.steps == ["before", "restart", "after"]


@real
async def test_one_that_cannot_be_taken_out_is_not_restarted(scene: Balanced) -> None:
    fleet = scene.fleet()
    old, member = await serving(scene, fleet)
    scene.fail("before")
    with pytest.raises(RollFailedError, match=r"`before` of .* ended with code 3"):
        await fleet.roll(member, KEY, scene.turn())
    assert scene.steps == ["before", "after"]  # it may be half out
    assert await fleet.serving(member, KEY) == old


@real
async def test_one_whose_restart_failed_is_put_back_with_the_old_key(scene: Balanced) -> None:
    fleet = scene.fleet()
    old, member = await serving(scene, fleet)
    scene.fail("restart")
    with pytest.raises(RollFailedError, match="ended with code 3"):
        await fleet.roll(member, KEY, scene.turn())
    assert scene.steps == ["before", "restart", "after"]
    assert await fleet.serving(member, KEY) == old


@real
async def test_one_that_does_not_come_up_stays_out(scene: Balanced) -> None:
    old, member = await serving(scene, scene.fleet())
    assert scene.loaded is not None
    scene.command = scene.told_as("restart", f"kill -9 {scene.loaded.pid}")
    with pytest.raises(RollFailedError, match="does not serve the new key"):
        await scene.fleet(roll_timeout="1s").roll(member, KEY, scene.turn())
    assert scene.steps == ["before", "restart"]
    scene.tell("fingerprint", old.fingerprint)  # a person starts it, with the key that the rotation goes back to
    scene.start_by_hand()
    fleet = scene.fleet()
    async with asyncio.timeout(30):
        while await fleet._serves(member, KEY) != old:  # noqa: ASYNC110  # another process's state
            await asyncio.sleep(0.02)
    await fleet.roll(member, KEY, old)
    assert scene.steps == ["before", "restart", "after"]
    assert await fleet.serving(member, KEY) == old


@real
async def test_one_that_cannot_be_put_back_is_not_serving_until_the_next_roll_does_it(scene: Balanced) -> None:
    fleet = scene.fleet()
    _, member = await serving(scene, fleet)
    new = scene.turn()
    scene.fail("after")
    with pytest.raises(RollFailedError, match="`after` of"):
        await fleet.roll(member, KEY, new)
    assert await fleet.serving(member, KEY) is None
    scene.mend("after")
    await fleet.roll(member, KEY, new)
    assert scene.steps == ["before", "restart", "after", "after"]
    assert await fleet.serving(member, KEY) == new


@real
async def test_a_command_that_does_not_end_is_ended(scene: Balanced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "_COMMAND", 0.2)
    fleet = scene.fleet()
    _, member = await serving(scene, fleet)
    settings = scene.settings()
    settings["members"][0]["before"] = ["/bin/sh", "-c", f"echo $$ > {scene.folder}/hangs; exec sleep 60"]
    fleet._by_name[member.name] = CommandFleet.Settings.model_validate(settings).members[0]
    async with asyncio.timeout(30):
        with pytest.raises(RollFailedError, match=r"did not end within 0\.2 s"):
            await fleet.roll(member, KEY, scene.turn())
    with pytest.raises(ProcessLookupError):
        os.kill(int((scene.folder / "hangs").read_text()), signal.SIGKILL)
    assert "restart" not in scene.steps


@real
async def test_the_commands_are_not_given_our_environment(scene: Balanced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ADMIN_KEY", secrets.token_hex(8))
    assert await drain_module._code(["/bin/sh", "-c", f"env > {scene.folder}/environment"]) == "0"
    written = (scene.folder / "environment").read_text()
    assert "PATH=" in written
    assert "OPENAI_ADMIN_KEY" not in written


# Looking ----------------------------------------------------------------------------------------------------------------


async def test_preflight_tells_of_a_balancer_that_is_not_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    (found,) = [each for each in await scene.fleet().preflight(KEY) if "balancer" in each.what]
    assert found.ok is None
    assert "before" in found.remedy


async def test_preflight_names_a_command_that_is_not_there(scene: Balanced) -> None:
    settings = scene.settings()
    settings["members"][0]["after"] = ["/nowhere/after"]
    fleet = CommandFleet(CommandFleet.Settings.model_validate(settings), _no_key)
    wrong = [each.what.partition(": ")[2] for each in await fleet.preflight(KEY) if each.ok is False]
    assert "after" in wrong
    assert "before" not in wrong


async def _no_key(reference: str) -> KeyMaterial:
    raise AssertionError(f"{reference} is not needed")
