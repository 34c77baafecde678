"""A member proves its new key before anybody is sent to it: real programs, whose provider's answers the tests choose."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.delivery.key_files import KeyFiles
from keyturn.delivery.own_proof import OwnProof
from keyturn.errors import DeniedError, RejectedError, RollFailedError, UndecidedError
from keyturn.material import KeyMaterial
from keyturn.model import Verdict, VersionRef
from keyturn.settings import CanarySettings
from keyturn.testing.fake_proxy import OF_THE_VENDOR
from tests.delivery.supervised import Clock, Shelf, Supervised, new_key, supervised, until
from tests.fleets.test_process import fleet_of

real = pytest.mark.real

BOTH = {"openai-prod": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}
ENV = ("--env", "OPENAI_API_KEY", "--env", "GEMINI_API_KEY")


class Provider:
    """What calls with a key end with; 200 unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fails"
        self.told: dict[str, int] = {}

    def answers(self, version: VersionRef, status: int) -> None:
        self.told[version.fingerprint] = status
        draft = self.path.with_suffix(".new")
        draft.write_text("\n".join(f"{key} {status}" for key, status in self.told.items() if status != 200))
        draft.replace(self.path)


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    return Provider(tmp_path)


async def rolled(member: Supervised, version: VersionRef) -> dict[str, Any]:
    """Its status once it is at rest."""
    assert (await member.roll(version.fingerprint)).status_code == 202
    return await member.at_rest()


def fingerprint(status: dict[str, Any], credential: str = "openai-prod") -> str:
    return str(status["versions"][credential]["fingerprint"])


@real
async def test_nobody_is_sent_to_a_member_before_its_new_key_is_proved(provider: Provider) -> None:
    async with supervised("--fail", provider.path, prove={}) as member:
        new = member.shelf.turn("openai-prod")
        provider.answers(new, 401)  # a fresh key may be refused for a moment
        member.patience.hold()
        assert (await member.roll(new.fingerprint)).status_code == 202
        await until(lambda: member.patience.paused)
        status = (await member.status()).json()
        assert (status["state"], status["versions"], await member.health()) == ("starting", {}, 503)
        assert (await member.http.get(f"{member.url}/health/readiness")).status_code == 200, "the program itself is ready"
        provider.answers(new, 200)
        member.patience.release()
        status = await member.at_rest()
        assert (fingerprint(status), status["starts"], status["rolls"]) == (new.fingerprint, 2, 1)
        assert (status["proved"], status["unproved"]) == ({"openai-prod": True}, {})
        assert await member.health() == 200


@real
@pytest.mark.parametrize(
    ("answer", "words"),
    [(401, "refuses the key"), (403, "forbids the call"), (429, "throttles"), (503, "the provider fails")],
)
async def test_a_key_that_does_not_work_here_gives_way_to_the_old_one(provider: Provider, answer: int, words: str) -> None:
    async with supervised("--fail", provider.path, prove={}) as member:
        old, new = member.shelf.version("openai-prod"), member.shelf.turn("openai-prod")
        provider.answers(new, answer)
        fleet = fleet_of(member)
        with pytest.raises(RollFailedError, match=f"came back without the new key: the new key does not work here.*{words}"):
            await fleet.roll((await fleet.members())[0], "openai-prod", new)
        status = member.supervisor.status()
        assert (status["state"], status["starts"], status["rolls"]) == ("serving", 3, 0)
        assert fingerprint(status) == old.fingerprint == (await member.ask())["loaded"]["OPENAI_API_KEY"]
        assert (status["proved"], status["undecided"]) == ({"openai-prod": True}, [])
        assert OF_THE_VENDOR not in (await member.status()).text
        assert await member.health() == 200
        await fleet.aclose()


@real
async def test_in_an_outage_the_old_key_is_served_and_nothing_is_decided(provider: Provider) -> None:
    async with supervised("--fail", provider.path, prove={}) as member:
        old, new = member.shelf.version("openai-prod"), member.shelf.turn("openai-prod")
        provider.answers(old, 503)
        provider.answers(new, 503)
        fleet = fleet_of(member)
        with pytest.raises(UndecidedError, match="nor is the old one answered"):
            await fleet.roll((await fleet.members())[0], "openai-prod", new)
        status = member.supervisor.status()
        assert (fingerprint(status), status["state"], status["proved"]) == (
            old.fingerprint,
            "serving",
            {"openai-prod": False},
        )
        for each in (old, new):
            provider.answers(each, 200)
        await fleet.roll((await fleet.members())[0], "openai-prod", new)
        status = member.supervisor.status()
        assert (fingerprint(status), status["undecided"], status["last_error"]) == (new.fingerprint, [], "")
        await fleet.aclose()


@real
async def test_nobody_goes_back_to_a_key_that_the_provider_refuses(provider: Provider) -> None:
    async with supervised("--fail", provider.path, prove={}) as member:
        old, new = member.shelf.version("openai-prod"), member.shelf.turn("openai-prod")
        provider.answers(old, 401)
        provider.answers(new, 429)
        status = await rolled(member, new)
        assert (fingerprint(status), status["starts"], status["rolls"]) == (new.fingerprint, 2, 1)
        assert status["proved"] == {"openai-prod": False} and "throttles" in status["unproved"]["openai-prod"]


@real
async def test_a_key_that_came_along_and_does_not_work_holds_up_no_other(provider: Provider) -> None:
    async with supervised(*ENV, "--fail", provider.path, names=BOTH, prove={}) as member:
        kept, gemini = member.shelf.version("gemini"), member.shelf.turn("gemini")
        openai = member.shelf.turn("openai-prod")
        provider.answers(gemini, 403)
        fleet = fleet_of(member)
        one = (await fleet.members())[0]
        await fleet.roll(one, "openai-prod", openai)
        status = member.supervisor.status()
        assert (fingerprint(status), fingerprint(status, "gemini")) == (openai.fingerprint, kept.fingerprint)
        assert (status["starts"], status["rolls"]) == (3, 1)
        with pytest.raises(RollFailedError, match="gemini: the provider forbids"):
            await fleet.roll(one, "gemini", gemini)
        assert fingerprint(member.supervisor.status()) == openai.fingerprint
        await fleet.aclose()


@real
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"without": "there is no master key"}, "there is no master key"),
        ({"canaries": {"openai-prod": CanarySettings(model="nonesuch")}}, "model nonesuch is not known to the proxy"),
        ({"canaries": {}}, None),
    ],
)
async def test_a_roll_goes_on_without_a_proof_that_cannot_be_had(
    provider: Provider, settings: dict[str, Any], why: str | None
) -> None:
    async with supervised("--fail", provider.path, prove=settings) as member:
        new = member.shelf.turn("openai-prod")
        status = await rolled(member, new)
        assert (fingerprint(status), status["starts"], status["rolls"]) == (new.fingerprint, 2, 1)
        assert status["proved"].get("openai-prod", False) is False
        assert why is None or why in status["unproved"]["openai-prod"]


@real
async def test_a_program_that_dies_while_it_is_asked_is_not_waited_for(provider: Provider) -> None:
    async with supervised("--fail", provider.path, prove={}) as member:
        old, new = member.shelf.version("openai-prod"), member.shelf.turn("openai-prod")
        provider.answers(new, 429)
        member.patience.hold()
        await member.roll(new.fingerprint)
        await until(lambda: member.patience.paused)
        os.kill(member.supervisor.status()["pid"], signal.SIGKILL)
        status = await member.at_rest()
        assert (fingerprint(status), status["starts"]) == (old.fingerprint, 3)
        assert "it ended with code -9" in status["last_error"]


@real
async def test_stop_while_proving_leaves_no_process(provider: Provider) -> None:
    async with supervised("--fail", provider.path, prove={}) as member:
        new = member.shelf.turn("openai-prod")
        provider.answers(new, 429)
        member.patience.hold()
        await member.roll(new.fingerprint)
        await until(lambda: member.patience.paused)
        pid = member.supervisor.status()["pid"]
        member.supervisor.stop()
        assert await member.task == 0
        assert not Path(f"/proc/{pid}").exists()


# A first start ----------------------------------------------------------------------------------------------------------


@real
@pytest.mark.parametrize(("at_start", "answer"), [(False, 401), (True, 503), (True, 429)])
async def test_a_start_is_not_held_up(provider: Provider, at_start: bool, answer: int) -> None:
    shelf = Shelf("openai-prod")
    provider.answers(shelf.version("openai-prod"), answer)
    async with supervised("--fail", provider.path, shelf=shelf, prove={"at_start": at_start}) as member:
        assert await member.health() == 200
        assert member.supervisor.status()["proved"] == {"openai-prod": False}
        assert member.patience.paused == 0, "and not tried again"


@real
@pytest.mark.parametrize("answer", [401, 403])
async def test_where_it_is_asked_for_a_start_with_a_refused_key_is_none(provider: Provider, answer: int) -> None:
    shelf = Shelf("openai-prod")
    provider.answers(shelf.version("openai-prod"), answer)
    settings = {"at_start": True}
    async with supervised("--fail", provider.path, shelf=shelf, ready=False, prove=settings) as member:
        member.patience.hold()
        await until(lambda: member.patience.paused)
        assert await member.health() == 503
        member.patience.release()
        with pytest.raises(RejectedError, match="openai-prod: the provider"):
            await member.task


# Key files --------------------------------------------------------------------------------------------------------------


@real
async def test_in_a_file_the_old_key_is_put_back(provider: Provider, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    files = KeyFiles(folder)
    async with supervised("--fail", provider.path, "--keys", folder, files=files, prove={}) as member:
        old, new = member.shelf.version("openai-prod"), member.shelf.turn("openai-prod")
        fleet = fleet_of(member)
        one = (await fleet.members())[0]
        provider.answers(new, 403)
        with pytest.raises(RollFailedError, match="the provider forbids the call"):
            await fleet.roll(one, "openai-prod", new)
        assert (await member.ask())["loaded"]["OPENAI_API_KEY"] == old.fingerprint
        status = member.supervisor.status()
        assert (fingerprint(status), status["starts"], status["rolls"]) == (old.fingerprint, 1, 0)

        provider.answers(old, 503)
        with pytest.raises(UndecidedError, match="nor is the old one answered"):
            await fleet.roll(one, "openai-prod", new)
        for each in (old, new):
            provider.answers(each, 200)
        await fleet.roll(one, "openai-prod", new)
        assert (await member.ask())["loaded"]["OPENAI_API_KEY"] == new.fingerprint
        assert member.supervisor.status()["proved"] == {"openai-prod": True}
        await fleet.aclose()


@real
async def test_no_key_comes_back_into_a_file_of_a_member_that_was_stopped(provider: Provider, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    files = KeyFiles(folder)
    async with supervised("--fail", provider.path, "--keys", folder, files=files, prove={}) as member:
        new = member.shelf.turn("openai-prod")
        provider.answers(new, 403)
        member.patience.hold()
        asked = asyncio.create_task(member.roll(new.fingerprint))
        await until(lambda: member.patience.paused)
        member.supervisor.stop()
        await member.task
        member.patience.release()
        await asked
        assert list(folder.iterdir()) == []


# By itself --------------------------------------------------------------------------------------------------------------


def proof_of(master_key: Any, **settings: Any) -> OwnProof:
    canaries = {"openai-prod": CanarySettings(model="gpt")}
    return OwnProof(canaries, "http://127.0.0.1:1", master_key, pause=Clock().pause, **settings)


async def test_a_master_key_that_cannot_be_read_says_nothing_of_the_key() -> None:
    async def denied() -> KeyMaterial:
        raise DeniedError("may not read")

    proof = proof_of(denied)
    assert await proof.failing(["openai-prod", "a-lease"]) == {}
    assert "may not read" in proof.told()["unproved"]["openai-prod"]
    await proof.aclose()


async def test_a_program_that_does_not_answer_has_not_proved_its_key() -> None:
    async def master_key() -> KeyMaterial:
        return new_key()

    proof = proof_of(master_key, limit=timedelta(seconds=20))
    (found,) = (await proof.failing(["openai-prod"])).values()
    assert (found.verdict, found.clear) == (Verdict.INDETERMINATE, False)
    await proof.aclose()


async def test_a_fault_of_ours_ends_no_member() -> None:
    async def broken() -> KeyMaterial:
        raise ValueError("with a text that nobody may see")

    proof = proof_of(broken)
    assert await proof.failing(["openai-prod"]) == {}
    assert "please report it" in proof.told()["unproved"]["openai-prod"]
    await proof.aclose()
