"""Instances of a template unit, with a `systemctl` of the test's on PATH."""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.fleets.systemd import SystemdFleet, span
from keyturn.material import KeyMaterial
from keyturn.model import Finding
from keyturn.ports import ProxyFleet
from tests.fleets.test_command import Scene, serving, until
from tests.test_house import ROOT

KEY = "openai-prod"
GOOD = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "Job": "0",
    "NeedDaemonReload": "no",
    "Restart": "always",
    "KillMode": "mixed",
    "TimeoutStopUSec": "1min 40s",
}

# `restart UNIT` is what launched_member.py does; `show` prints FOLDER/show, and the words are told in FOLDER/words.
SYSTEMCTL = """#!/bin/sh
echo "$@" >> {folder}/words
case "$*" in
  *show*) cat {folder}/show ;;
  *restart*) exec {restart} ;;
esac
"""


class Units(Scene):
    """One instance, whose name is its port."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        there = folder / "bin"
        there.mkdir()
        systemctl = there / "systemctl"
        systemctl.write_text(SYSTEMCTL.format(folder=folder, restart=shlex.join(self.command)))
        systemctl.chmod(0o755)
        monkeypatch.setenv("PATH", f"{there}{os.pathsep}{os.environ['PATH']}")
        self.show()

    def show(self, **other: str) -> None:
        self.tell("show", "".join(f"{name}={value}\n" for name, value in {**GOOD, **other}.items()))

    @property
    def words(self) -> list[str]:
        words = self.folder / "words"
        return words.read_text().splitlines() if words.exists() else []

    def units(self, **other: Any) -> SystemdFleet:
        async def resolve(reference: str) -> KeyMaterial:
            raise AssertionError(f"{reference} is not needed")

        settings = {
            "unit": "litellm@.service",
            "instances": [str(self.port)],
            "state": f"{self.folder}/state",
            "master_key": "env:MASTER",
            "poll_interval": timedelta(seconds=0.05),
            **other,
        }
        return SystemdFleet(SystemdFleet.Settings.model_validate(settings), resolve)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    scene = Units(tmp_path, monkeypatch)
    yield scene
    scene.end()


def test_it_is_a_fleet(scene: Units) -> None:
    port: ProxyFleet = scene.units()  # mypy: it is one
    assert port is not None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"unit": "litellm.service"}, "should match pattern"),
        ({"instances": ["a b"]}, "should match pattern"),
        ({"instances": []}, "at least 1 item"),
        ({"instances": ["1", "2"]}, "need %i"),
        ({"instances": ["1", "1"], "state": "/state-%i"}, "each needs its own"),
        ({"url": "http://user:word@127.0.0.1:%i"}, "without a user name"),
        ({"state": "state-%i"}, "absolute path"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], words: str, scene: Units) -> None:
    with pytest.raises(ValidationError, match=words):
        scene.units(**settings)


async def test_each_instance_is_a_member_with_its_own_address_state_and_unit() -> None:
    settings = SystemdFleet.Settings(unit="llm@.service", instances=("4001", "4002"), user=True, master_key="env:MASTER")
    commands = settings.as_commands().members
    assert [each.url for each in commands] == ["http://127.0.0.1:4001", "http://127.0.0.1:4002"]
    assert [str(each.state) for each in commands] == [f"/var/lib/keyturn/litellm-{each}.json" for each in ("4001", "4002")]
    assert commands[1].restart == ("systemctl", "--user", "restart", "llm@4002.service")


@pytest.mark.real
@pytest.mark.parametrize("user", [False, True])
async def test_a_roll_is_one_restart_of_its_unit(user: bool, scene: Units) -> None:
    fleet = scene.units(user=user)
    _, member = await serving(scene, scene.fleet())
    (member,) = await fleet.members()
    new = scene.turn()
    await fleet.roll(member, KEY, new)
    assert await fleet.serving(member, KEY) == new
    await fleet.roll(member, KEY, new)
    restarts = [each for each in scene.words if "restart" in each]
    assert restarts == [f"{'--user ' if user else ''}restart litellm@{scene.port}.service"]
    assert scene.restarts == 1
    assert [each for each in await fleet.preflight(KEY) if each.ok is False] == []


@pytest.mark.real
@pytest.mark.parametrize("busy", [{"ActiveState": "deactivating"}, {"Job": "4711"}], ids=["deactivating", "a job"])
async def test_a_restart_that_systemd_is_at_is_waited_for(busy: dict[str, str], scene: Units) -> None:
    """The worker that began it died with its `systemctl`, and the old program ends its last requests still."""
    fleet = scene.units()
    _, member = await serving(scene, scene.fleet())
    scene.show(**busy)
    new = scene.turn()
    scene.tell("state.restart", json.dumps({"fingerprint": new.fingerprint, "pid": 1, "started": 1}))
    waiting = asyncio.create_task(fleet.roll(member, KEY, new))
    while len([each for each in scene.words if "show" in each]) < 2:  # noqa: ASYNC110  # another process's words
        await asyncio.sleep(0.02)
    assert scene.restarts == 0
    scene.start()  # systemd has done it
    scene.show()
    await waiting
    await until(scene.fleet(), member, new)
    assert not [each for each in scene.words if "restart" in each]


def wrong(findings: Any) -> dict[str, Finding]:
    return {each.what.partition(": ")[2]: each for each in findings if each.ok is not True and "litellm@" in each.what}


async def test_preflight_tells_what_of_a_unit_loses_requests(scene: Units) -> None:
    scene.show(Restart="no", KillMode="process", TimeoutStopUSec="30s", NeedDaemonReload="yes")
    found = wrong(await scene.units().preflight(KEY))
    assert set(found) == {"Restart=", "KillMode=", "TimeoutStopSec=", "unit file"}
    assert all(each.remedy for each in found.values())
    scene.show(LoadState="not-found", ActiveState="inactive", TimeoutStopUSec="infinity")
    found = wrong(await scene.units().preflight(KEY))
    assert {name: each.ok for name, each in found.items()} == {"unit": False, "state": False}


async def test_a_systemd_that_cannot_be_asked_is_told(scene: Units, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert [each.ok for each in wrong(await scene.units().preflight(KEY)).values()] == [None]


async def test_systemctl_is_not_given_our_environment(scene: Units, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "what keyturn logs in with")
    systemctl = scene.folder / "bin" / "systemctl"
    systemctl.write_text(f"#!/bin/sh\nenv > {scene.folder}/environment\n")
    await scene.units().preflight(KEY)
    assert "OPENAI_ADMIN_KEY" not in (scene.folder / "environment").read_text()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1min 30s", 90), ("1min 40s", 100), ("2h", 7200), ("500ms", 0.5), ("infinity", None), ("", None), ("soon", None)],
)
def test_spans_are_read_as_systemd_writes_them(value: str, seconds: float | None) -> None:
    assert span(value) == (None if seconds is None else timedelta(seconds=seconds))


def test_the_unit_that_is_shown_fits_the_kind_and_lets_streams_end() -> None:
    text = (ROOT / "deployments" / "litellm@.service").read_text().replace("\\\n", " ")
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names have capitals
    unit.read_string(text)
    service = unit["Service"]
    words = shlex.split(service["ExecStart"])
    state = SystemdFleet.Settings.model_fields["state"].default
    assert words[words.index("--state") + 1] == state
    assert state.startswith(f"/var/lib/{service['StateDirectory']}/")
    assert (service["KillMode"], service["Restart"]) == ("mixed", "always")
    assert (span(service["TimeoutStopSec"]) or timedelta(0)) >= timedelta(seconds=90)
    assert unit["Unit"]["After"]
    assert "OPENAI_API_KEY" not in text
