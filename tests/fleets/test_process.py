"""The fleet of supervised processes: its settings alone, and its verbs against real supervisors."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.errors import DeniedError, MisconfiguredError, RollFailedError, UnavailableError
from keyturn.fleets.process import ProcessFleet
from keyturn.material import KeyMaterial
from keyturn.model import Finding, Member, VersionRef
from keyturn.ports import ProxyFleet
from keyturn.testing.processes import free_port
from tests.delivery.supervised import Supervised, new_key, supervised, until

real = pytest.mark.real


def fleet_of(*members: Supervised | dict[str, str], token: KeyMaterial | None = None, **settings: Any) -> ProcessFleet:
    """A fleet whose members each are asked with their own token, unless another is given."""
    addresses = [each if isinstance(each, dict) else {"url": each.url, "control": each.control} for each in members]
    known = token or next((each.token for each in members if isinstance(each, Supervised)), new_key())

    async def resolve(reference: str) -> KeyMaterial:
        assert reference == "env:CONTROL"
        return known

    return ProcessFleet(
        ProcessFleet.Settings(
            **{
                "members": addresses,
                "control_token": "env:CONTROL",
                "master_key": "env:MASTER",
                "poll_interval": timedelta(seconds=0.05),
                **settings,
            }
        ),
        resolve,
    )


async def only(fleet: ProcessFleet) -> Member:
    (member,) = await fleet.members()
    return member


# Settings ---------------------------------------------------------------------------------------------------------------


async def test_bare_url_finds_its_supervisor_by_the_port() -> None:
    fleet = fleet_of({"url": "http://127.0.0.1:4001"}, {"url": "http://[::1]:4002"}, control_port_offset=50)
    assert [(member.name, member.control) for member in await fleet.members()] == [
        ("127.0.0.1:4001", "http://127.0.0.1:4051"),
        ("[::1]:4002", "http://[::1]:4052"),
    ]
    settings = ProcessFleet.Settings(members=("http://127.0.0.1:4001",), master_key="env:MASTER")  # type: ignore[arg-type]
    assert settings.control_token == "env:KEYTURN_CONTROL_TOKEN"
    assert settings.members[0].url == "http://127.0.0.1:4001"
    port: ProxyFleet = fleet  # mypy: it is one
    assert port is fleet


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ((), "at least 1 item"),
        (("http://proxy.example",), "needs a port"),
        (("http://127.0.0.1:1", {"url": "http://127.0.0.1:1/", "control": "unix:/run/x"}), "listed twice"),
        (({"url": "http://127.0.0.1:1", "control": "127.0.0.1:2"},), "unix:/PATH"),
        (("http://user:word@127.0.0.1:1",), "without a user name"),
        (({"url": "http://127.0.0.1:1", "control": "http://user:word@127.0.0.1:2"},), "without a user name"),
        (({"url": "http://127.0.0.1:1", "control": "http://["},), "http://HOST:PORT"),
        (({"url": "http://127.0.0.1:1", "control": "unix:/run/x\x00"},), "unix:/PATH"),
        (({"url": "http://127.0.0.1:1", "control": f"unix:/{'x' * 107}"},), "unix:/PATH"),
        (("http://127.0.0.1:65500",), "beyond the last port"),
    ],
)
def test_settings_that_cannot_work_are_refused(members: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ProcessFleet.Settings(members=members, master_key="env:MASTER")


# Rolling ----------------------------------------------------------------------------------------------------------------


@real
async def test_roll_waits_until_the_member_serves_and_repeats_quietly(tmp_path: Path) -> None:
    async with supervised(socket=tmp_path / "control.sock") as running:
        fleet = fleet_of(running)
        member = await only(fleet)
        before = running.shelf.version("openai-prod")
        assert await fleet.serving(member, "openai-prod") == before
        assert await fleet.serving(member, "no-such") is None
        wanted = running.shelf.turn("openai-prod")
        await fleet.roll(member, "openai-prod", wanted)
        served = await fleet.serving(member, "openai-prod")
        assert served is not None
        assert (served, served.id) == (wanted, wanted.id)
        assert (await running.ask())["loaded"]["OPENAI_API_KEY"] == wanted.fingerprint
        await fleet.roll(member, "openai-prod", wanted)
        assert running.supervisor.status()["starts"] == 2
        await fleet.aclose()


@real
async def test_roll_resumed_by_another_worker_waits_and_restarts_once() -> None:
    async with supervised() as running:
        first, second = fleet_of(running), fleet_of(running)
        member, wanted = await only(first), running.shelf.turn("openai-prod")
        running.clock.hold()
        begun = asyncio.create_task(first.roll(member, "openai-prod", wanted))
        await until(lambda: running.supervisor.status()["state"] == "draining")
        begun.cancel()  # the first worker dies
        assert await second.serving(member, "openai-prod") is None  # between two versions
        resumed = asyncio.create_task(second.roll(member, "openai-prod", wanted))
        await until(lambda: running.shelf.reads == 2)
        assert not resumed.done()
        running.clock.release()
        await resumed
        assert (running.supervisor.status()["starts"], running.supervisor.status()["rolls"]) == (2, 1)
        assert await second.serving(member, "openai-prod") == wanted


@real
async def test_two_credentials_rolled_at_once_both_arrive() -> None:
    names = {"openai-prod": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}
    async with supervised("--env", "OPENAI_API_KEY", "--env", "GEMINI_API_KEY", names=names) as running:
        fleet = fleet_of(running)
        member, openai = await only(fleet), running.shelf.turn("openai-prod")
        running.clock.hold()
        first = asyncio.create_task(fleet.roll(member, "openai-prod", openai))
        await until(lambda: running.supervisor.status()["state"] == "draining")
        gemini = running.shelf.turn("gemini")  # too late to come along
        second = asyncio.create_task(fleet.roll(member, "gemini", gemini))
        running.clock.release()
        await asyncio.gather(first, second)
        assert (await running.ask())["loaded"] == {
            "OPENAI_API_KEY": openai.fingerprint,
            "GEMINI_API_KEY": gemini.fingerprint,
        }
        assert running.supervisor.status()["starts"] == 3


@real
async def test_roll_fails_in_words_when_the_member_falls_back(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    async with supervised("--refuse", bad) as running:
        fleet, before = fleet_of(running), running.shelf.version("openai-prod")
        member, wanted = await only(fleet), running.shelf.turn("openai-prod")
        bad.write_text(wanted.fingerprint)
        with pytest.raises(RollFailedError, match=rf"{member.name} came back without the new key.*ended with code 3"):
            await fleet.roll(member, "openai-prod", wanted)
        assert await fleet.serving(member, "openai-prod") == before


@real
async def test_roll_refused_by_the_store_or_too_slow_fails_and_an_unreadable_store_is_retryable() -> None:
    async with supervised() as running:
        fleet = fleet_of(running)
        member, other = await only(fleet), VersionRef("v", new_key().fingerprint())
        with pytest.raises(RollFailedError, match="not the one to roll onto"):
            await fleet.roll(member, "openai-prod", other)
        with pytest.raises(MisconfiguredError, match="does not serve no-such"):
            await fleet.roll(member, "no-such", other)
        running.shelf.failing["openai-prod"] = [UnavailableError("the store is sealed")]
        with pytest.raises(UnavailableError, match="the store is sealed"):
            await fleet.roll(member, "openai-prod", other)
        assert running.supervisor.status()["starts"] == 1

        hurried = fleet_of(running, roll_timeout=timedelta(seconds=0.2))
        running.clock.hold()
        with pytest.raises(RollFailedError, match="does not serve the new key of openai-prod after"):
            await hurried.roll(member, "openai-prod", running.shelf.turn("openai-prod"))


async def test_unreachable_member_is_unknown_and_its_roll_retryable() -> None:
    fleet = fleet_of({"url": f"http://127.0.0.1:{free_port()}", "control": f"http://127.0.0.1:{free_port()}"})
    member, version = await only(fleet), VersionRef("v", new_key().fingerprint())
    assert await fleet.serving(member, "openai-prod") is None
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await fleet.roll(member, "openai-prod", version)


# Preflight --------------------------------------------------------------------------------------------------------------


def faults(findings: Any) -> list[Finding]:
    return [finding for finding in findings if finding.ok is not True]


@real
async def test_preflight_tells_what_is_well_and_what_is_not() -> None:
    async with supervised() as running:
        fleet = fleet_of(running)
        findings = await fleet.preflight("openai-prod")
        assert len(findings) == 5
        (alone,) = faults(findings)
        assert (alone.what, alone.ok) == ("members", None)
        (member, _) = faults(await fleet.preflight("no-such"))
        assert (member.what, member.ok) == (f"{(await only(fleet)).name}: credential", False)

        gone = {"url": f"http://127.0.0.1:{free_port()}", "control": f"http://127.0.0.1:{free_port()}"}
        (unreachable,) = faults(await fleet_of(running, gone).preflight("openai-prod"))
        assert "cannot be reached" in unreachable.detail

        elsewhere = {"url": gone["url"], "control": running.control}
        first, _ = faults(await fleet_of(elsewhere, token=running.token).preflight("openai-prod"))
        assert (first.what.endswith(": proxy"), first.ok) == (True, False)

        stranger = fleet_of(running, token=new_key())
        (denied,) = faults(await stranger.preflight("openai-prod"))
        assert (denied.ok, "refuses the control token" in denied.detail) == (False, True)
        with pytest.raises(DeniedError):
            await stranger.roll(await only(stranger), "openai-prod", running.shelf.version("openai-prod"))

        not_a_supervisor = fleet_of({"url": running.url, "control": running.url})
        (confused,) = faults(await not_a_supervisor.preflight("openai-prod"))
        assert confused.ok is False


@real
async def test_preflight_names_a_shadowing_variable() -> None:
    stale = new_key()
    environment = {"PATH": "/usr/bin:/bin", "GOOGLE_API_KEY": stale.reveal()}
    async with supervised("--env", "GEMINI_API_KEY", names={"gemini": "GEMINI_API_KEY"}, inherited=environment) as running:
        shadow, _ = faults(await fleet_of(running).preflight("gemini"))
        assert shadow.ok is False
        assert "GOOGLE_API_KEY" in shadow.detail
        assert stale.reveal()[3:] not in f"{shadow.detail} {shadow.remedy}"
