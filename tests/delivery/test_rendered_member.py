"""A member whose keys a sidecar renders: a roll waits for the render, and serves on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.delivery.env_file import EnvFile
from keyturn.delivery.keys import Variable
from keyturn.delivery.variable_names import Names
from keyturn.errors import UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import VersionRef
from tests.delivery.supervised import Shelf, new_key, supervised, until
from tests.fleets.test_process import fleet_of, only

real = pytest.mark.real

NAMES = {"openai-prod": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}
BOTH = ("--env", "OPENAI_API_KEY", "--env", "GEMINI_API_KEY")


class Rendered(Shelf):
    """A store that a sidecar renders when the test says so."""

    def __init__(self, path: Path, names: Mapping[str, str] = NAMES) -> None:
        super().__init__(*names)
        self.path, self.names = path, names
        found = EnvFile([path]).variables({credential: Names(name) for credential, name in names.items()})
        self.variables = {each.credential: each for each in found}

    def variable(self, credential: str, name: str) -> Variable:
        return self.variables[credential]

    def render(self, **instead: str) -> None:
        values = {name: instead.get(name, self.held[credential].reveal()) for credential, name in self.names.items()}
        draft = self.path.with_suffix(".new")
        draft.write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
        draft.replace(self.path)

    def served(self) -> dict[str, str]:
        return {self.names[credential]: key.fingerprint() for credential, key in self.held.items()}


@pytest.fixture
def shelf(tmp_path: Path) -> Rendered:
    found = Rendered(tmp_path / "keys.env")
    found.render()
    return found


@real
async def test_the_first_start_waits_until_every_variable_is_there(shelf: Rendered) -> None:
    shelf.path.unlink()
    settings: dict[str, Any] = {"pause": lambda _: asyncio.sleep(0.02)}
    async with supervised(*BOTH, shelf=shelf, names=NAMES, ready=False, **settings) as member:
        await until(lambda: "No such file" in member.supervisor.status()["last_error"])
        shelf.render(GEMINI_API_KEY="")
        await until(lambda: "no value for GEMINI_API_KEY" in member.supervisor.status()["last_error"])
        assert member.supervisor.status()["starts"] == 0
        shelf.render()
        await until(lambda: member.supervisor.serving)
        assert (await member.ask())["loaded"] == shelf.served()


@real
async def test_a_roll_waits_for_its_render_ready_and_serving_then_restarts_once(shelf: Rendered) -> None:
    async with supervised(*BOTH, shelf=shelf, names=NAMES) as member:
        before, wanted = await member.ask(), shelf.turn("openai-prod").fingerprint
        for _ in range(3):
            answer = await member.roll(wanted)
            assert (answer.status_code, answer.json()["busy"], answer.json()["state"]) == (409, True, "serving")
            assert "not rendered yet" in answer.json()["error"]
        status = (await member.status()).json()
        assert (status["state"], status["starts"], status["waiting"]) == ("serving", 1, {"openai-prod": wanted})
        assert await member.health() == 200
        assert await member.ask() == before

        shelf.render()
        assert (await member.roll(wanted)).status_code == 202
        status = await member.at_rest()
        assert (status["starts"], status["rolls"], status["waiting"]) == (2, 1, {})
        assert (await member.ask())["loaded"] == shelf.served()


@real
async def test_an_order_that_waits_holds_up_no_other_credential(shelf: Rendered) -> None:
    async with supervised(*BOTH, shelf=shelf, names=NAMES) as member:
        never = new_key().fingerprint()
        assert (await member.roll(never)).json()["busy"] is True
        gemini = shelf.turn("gemini").fingerprint
        shelf.render()
        assert (await member.roll(gemini, "gemini")).status_code == 202
        await member.at_rest()
        assert (await member.ask())["loaded"] == shelf.served()
        assert (await member.status()).json()["waiting"] == {"openai-prod": never}


@real
@pytest.mark.parametrize("harm", ["half-written", "empty", "gone", "without it"])
async def test_a_file_that_is_harmed_takes_no_key_away(harm: str, shelf: Rendered) -> None:
    async with supervised(*BOTH, shelf=shelf, names=NAMES) as member:
        kept = shelf.version("gemini").fingerprint
        wanted = shelf.turn("openai-prod").fingerprint
        shelf.render()
        match harm:
            case "half-written":
                shelf.path.write_text(shelf.path.read_text()[:-20])
            case "empty":
                shelf.path.write_text("")
            case "gone":
                shelf.path.unlink()
            case _:
                shelf.path.write_text("")
        assert (await member.roll(wanted)).json()["busy"] is True
        assert (await member.status()).json()["starts"] == 1
        assert await member.health() == 200

        shelf.render(GEMINI_API_KEY="")  # what is asked for is there, and the other has become empty
        assert (await member.roll(wanted)).status_code == 202
        await member.at_rest()
        assert (await member.ask())["loaded"] == {"OPENAI_API_KEY": wanted, "GEMINI_API_KEY": kept}


@real
async def test_the_fleet_waits_for_the_render_within_its_own_time(shelf: Rendered) -> None:
    async with supervised(*BOTH, shelf=shelf, names=NAMES) as member:
        fleet, old = fleet_of(member), shelf.version("openai-prod")
        each, wanted = await only(fleet), shelf.turn("openai-prod")
        rolling = asyncio.create_task(fleet.roll(each, "openai-prod", wanted))
        await until(lambda: member.supervisor.status()["waiting"])
        assert await fleet.serving(each, "openai-prod") == old
        shelf.render()
        await rolling
        assert await fleet.serving(each, "openai-prod") == wanted
        assert member.supervisor.status()["starts"] == 2

        hurried = fleet_of(member, roll_timeout=timedelta(seconds=0.3))
        with pytest.raises(Exception, match=r"after 0s \(not now: its new key is not rendered yet\)"):
            await hurried.roll(each, "openai-prod", VersionRef("v", new_key().fingerprint()))


@real
async def test_a_render_that_never_comes_is_told_and_may_be_asked_for_again(shelf: Rendered) -> None:
    settings: dict[str, Any] = {"render_timeout": timedelta(0)}
    async with supervised(*BOTH, shelf=shelf, names=NAMES, **settings) as member:
        fleet = fleet_of(member)
        with pytest.raises(UnavailableError, match="was not rendered within 0s: the file still has another value") as caught:
            await fleet.roll(await only(fleet), "openai-prod", VersionRef("v", new_key().fingerprint()))
        text = str(caught.value)
        assert not any(KeyMaterial(key.reveal()).reveal()[3:15] in text for key in shelf.seen)
        shelf.turn("openai-prod")
        shelf.render()
        await fleet.roll(await only(fleet), "openai-prod", shelf.version("openai-prod"))
        assert (await member.ask())["loaded"] == shelf.served()
