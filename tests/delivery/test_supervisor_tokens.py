"""A supervised program whose key is a token: renewed by its file, or by one restart, and gone when it has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.delivery.key_files import KeyFiles
from keyturn.delivery.keys import Variable
from keyturn.delivery.readiness import Readiness
from keyturn.delivery.token_keeper import Renewal
from keyturn.delivery.turns import Seen, Turn
from keyturn.errors import UnavailableError
from tests.delivery.supervised import Shelf, Supervised, supervised, until
from tests.delivery.test_supervisor import traces
from tests.delivery.token_scene import NAME, Mint, new_token

pytestmark = pytest.mark.real

BOTH = {"openai-prod": "OPENAI_API_KEY", "azure": NAME}
ENVS = ("--env", "OPENAI_API_KEY", "--env", NAME)


class TokenShelf(Shelf):
    """One key of a store, and one lease."""

    def __init__(self, mint: Mint) -> None:
        super().__init__("openai-prod")
        self.mint = mint

    def variable(self, credential: str, name: str) -> Variable:
        return self.mint.variable(credential, name) if credential == "azure" else super().variable(credential, name)


@asynccontextmanager
async def member_of(mint: Mint, *options: object, turn: Turn | None = None, **settings: Any) -> AsyncIterator[Supervised]:
    async def soon(seconds: float) -> None:
        await asyncio.sleep(0.02)

    renewal = Renewal(turn or Turn(), mint.clock, soon, lambda: 0.0)
    more: Any = {"shelf": TokenShelf(mint), "names": BOTH, "renewal": renewal, **settings}
    async with supervised(*ENVS, *options, **more) as member:
        yield member


def served(member: Supervised) -> str:
    found: str = member.supervisor.status()["versions"].get("azure", {}).get("fingerprint", "")
    return found


async def test_a_file_is_replaced_and_nothing_is_restarted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    mint, folder = Mint(), tmp_path / "keys"
    async with member_of(mint, "--keys", folder, files=KeyFiles(folder)) as member:
        old = await member.ask()
        for _ in range(3):
            before = served(member)
            mint.now += timedelta(seconds=2500)
            await until(lambda: served(member) not in (before, ""))  # noqa: B023  # called at once
            new = await member.ask()
            assert new["loaded"][NAME] == mint.made[-1].version.fingerprint
            assert (new["pid"], new["loaded"]["OPENAI_API_KEY"]) == (old["pid"], old["loaded"]["OPENAI_API_KEY"])
        status = (await member.status()).json()
        assert (status["starts"], status["leases"]["azure"]["failure"]) == (1, "")
        everything = f"{caplog.text} {status}"
    assert traces(everything, [each.material for each in mint.made]) == []
    assert list(folder.iterdir()) == []


async def test_a_token_that_ends_while_the_program_starts_is_replaced_meanwhile(tmp_path: Path) -> None:
    mint, folder = Mint(), tmp_path / "keys"
    async with member_of(mint, "--keys", folder, "--ready-after", 2, files=KeyFiles(folder), ready=False) as member:
        await until(lambda: (folder / NAME).exists())
        mint.now += timedelta(seconds=4000)
        await until(lambda: (folder / NAME).read_text() == mint.made[-1].material.reveal() and len(mint.made) > 1)
        assert not member.supervisor.serving
        await until(lambda: member.supervisor.serving)
        assert served(member) == mint.made[-1].version.fingerprint
        assert (await member.ask())["loaded"][NAME] == mint.made[-1].version.fingerprint


async def test_a_token_that_has_ended_is_taken_away(tmp_path: Path) -> None:
    mint, folder = Mint(), tmp_path / "keys"
    async with member_of(mint, "--keys", folder, files=KeyFiles(folder)) as member:
        mint.failure = UnavailableError("down")
        mint.now += timedelta(seconds=3600)
        await until(lambda: not (folder / NAME).exists())
        assert (folder / "OPENAI_API_KEY").exists()
        mint.failure = None
        mint.now += timedelta(seconds=300)
        await until(lambda: (folder / NAME).exists())
        assert (folder / NAME).read_text() == mint.made[-1].material.reveal()
        assert member.supervisor.serving


async def test_a_token_in_the_environment_is_renewed_by_one_restart() -> None:
    mint = Mint()
    async with member_of(mint) as member:
        old = await member.ask()
        mint.now += timedelta(seconds=2500)
        await until(lambda: member.supervisor.status()["starts"] == 2 and member.supervisor.serving)
        new = await member.ask()
        assert new["loaded"] == {**old["loaded"], NAME: mint.made[-1].version.fingerprint}
        assert new["pid"] != old["pid"]
        await asyncio.sleep(0.2)
        assert member.supervisor.status()["starts"] == 2


async def test_a_restart_that_fails_is_followed_by_the_token_that_still_lives(tmp_path: Path) -> None:
    mint, refused = Mint(), tmp_path / "refused"
    mint.next = [new_token(), bad := new_token()]
    refused.write_text(bad.fingerprint())
    async with member_of(mint, "--refuse", refused) as member:
        refused.write_text(bad.fingerprint())
        old = await member.ask()
        mint.now += timedelta(seconds=2500)
        await until(lambda: member.supervisor.status()["starts"] == 3 and member.supervisor.serving)
        await until(lambda: "did not become ready" in member.supervisor.status()["leases"]["azure"]["failure"])
        assert (await member.ask())["loaded"] == old["loaded"]
        await asyncio.sleep(0.2)
        assert member.supervisor.status()["starts"] == 3, "not again at once"


async def test_it_waits_for_another_member_that_is_down_and_says_that_it_waits() -> None:
    down = True

    async def other() -> Seen | None:
        return Seen("another", not down, wants=False)

    async def soon(seconds: float) -> None:
        await asyncio.sleep(0.02)

    mint = Mint()
    async with member_of(mint, turn=Turn(0, {1: other}, soon)) as member:
        mint.now += timedelta(seconds=2500)
        await until(lambda: member.supervisor.status()["turn"])
        await asyncio.sleep(0.2)
        assert member.supervisor.status()["starts"] == 1
        down = False
        await until(lambda: member.supervisor.status()["starts"] == 2 and member.supervisor.serving)
        await until(lambda: not member.supervisor.status()["turn"])


async def test_a_roll_of_a_key_brings_a_new_token_along() -> None:
    mint = Mint()
    async with member_of(mint) as member:
        before = len(mint.made)
        wanted = member.shelf.turn("openai-prod")
        assert (await member.roll(wanted.fingerprint)).status_code == 202
        await member.at_rest()
        assert len(mint.made) == before + 1
        assert served(member) == mint.made[-1].version.fingerprint
        assert (await member.ask())["loaded"]["OPENAI_API_KEY"] == wanted.fingerprint


async def test_a_token_that_is_replaced_before_the_program_is_started_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mint, folder = Mint(), tmp_path / "keys"
    looked = Readiness.nobody_answers

    async def slowly(readiness: Readiness) -> None:
        mint.now += timedelta(seconds=2500)
        await until(lambda: len(mint.made) == 2 and (folder / NAME).exists())
        await looked(readiness)

    monkeypatch.setattr(Readiness, "nobody_answers", slowly)
    async with member_of(mint, "--keys", folder, files=KeyFiles(folder)) as member:
        assert (await member.ask())["loaded"][NAME] == mint.made[1].version.fingerprint == served(member)


async def test_a_roll_waits_for_another_member_that_restarts_for_its_token() -> None:
    wants = True

    async def other() -> Seen | None:
        return Seen("another", serving=True, wants=wants)

    async def silent() -> Seen | None:
        return None

    async def soon(seconds: float) -> None:
        await asyncio.sleep(0.02)

    async with member_of(Mint(), turn=Turn(0, {1: other, 2: silent}, soon)) as member:
        wanted = member.shelf.turn("openai-prod")
        answer = await member.roll(wanted.fingerprint)
        assert (answer.status_code, answer.json()["busy"]) == (409, True)
        assert not member.supervisor.status()["turn"]
        wants = False
        assert (await member.roll(wanted.fingerprint)).status_code == 202
        assert member.supervisor.status()["turn"], "others that restart for tokens wait for it"
        await member.at_rest()
        await until(lambda: not member.supervisor.status()["turn"])
        assert (await member.ask())["loaded"]["OPENAI_API_KEY"] == wanted.fingerprint
