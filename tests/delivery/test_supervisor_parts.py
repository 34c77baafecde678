"""A member whose key has several parts: both in its environment, both turned by one roll, or neither."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.config import parse
from keyturn.delivery.key_files import KeyFiles
from keyturn.delivery.keys import Variable
from keyturn.delivery.supervisor import Supervisor
from keyturn.delivery.variables import variables
from keyturn.errors import MisconfiguredError
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, VersionRef
from tests.delivery.pairs import BOTH, ID, SECRET, new_pair, parts_of, spoilt, usual_names
from tests.delivery.supervised import Clock, Shelf, proxy_command, supervised
from tests.delivery.test_key_parts import CONFIG

real = pytest.mark.real
OPTIONS = ("--env", ID, "--env", SECRET)


class Pairs(Shelf):
    """CURRENT of one pair, read as from keyturn.yaml."""

    def __init__(self) -> None:
        super().__init__("bedrock-prod")
        self.turn("bedrock-prod")

    def turn(self, credential: str) -> VersionRef:
        return self.put(new_pair())

    def put(self, material: KeyMaterial) -> VersionRef:
        self.held["bedrock-prod"] = material
        return self.version("bedrock-prod")

    def variable(self, credential: str, name: str) -> Variable:
        shelf = self

        class Store:
            async def current(self, secret: object) -> HeldKey:
                return HeldKey(shelf.version("bedrock-prod"), shelf.held["bedrock-prod"])

        store: Any = Store()
        (found,) = variables(parse(CONFIG), "local", lambda _: store)
        return found

    def loaded(self) -> Mapping[str, str]:
        """What the program tells of the parts."""
        parts = parts_of(self.held["bedrock-prod"])
        return {name: KeyMaterial(text).fingerprint() for name, text in parts.items()}


def of_a_pair(shelf: Pairs, **settings: Any) -> Any:
    return supervised(*OPTIONS, shelf=shelf, names={"bedrock-prod": BOTH}, **settings)


@real
async def test_both_parts_turn_in_one_roll_and_the_member_tells_of_the_whole() -> None:
    shelf = Pairs()
    inherited = {**os.environ, "AWS_SESSION_TOKEN": "of another"}
    async with of_a_pair(shelf, inherited=inherited) as member:
        assert (await member.ask())["loaded"] == shelf.loaded()
        wanted = shelf.turn("bedrock-prod").fingerprint
        assert wanted == shelf.held["bedrock-prod"].fingerprint()
        assert (await member.roll(wanted, "bedrock-prod")).status_code == 202
        status = await member.at_rest()
        assert (status["versions"]["bedrock-prod"]["fingerprint"], status["starts"]) == (wanted, 2)
        assert (await member.ask())["loaded"] == shelf.loaded()


@real
async def test_a_text_that_is_no_pair_rolls_nothing_and_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Pairs()
    async with of_a_pair(shelf) as member:
        before = await member.ask()
        for text in spoilt()[:4]:
            wanted = shelf.put(KeyMaterial(text)).fingerprint
            answer = await member.roll(wanted, "bedrock-prod")
            assert (answer.status_code, answer.json()["busy"]) == (409, False)
            assert "is not the JSON object" in answer.json()["error"]
            assert text not in answer.text + caplog.text
        assert await member.ask() == before
        assert (member.supervisor.serving, member.supervisor.status()["starts"]) == (True, 1)


async def test_with_a_text_that_is_no_pair_nothing_is_started() -> None:
    shelf = Pairs()
    shelf.put(KeyMaterial(spoilt()[3]))
    supervisor = Supervisor(
        proxy_command(1), [shelf.variable("", "")], "http://127.0.0.1:1/", start_timeout=timedelta(0), pause=Clock().pause
    )
    with pytest.raises(MisconfiguredError, match="is not the JSON object"):
        await supervisor.run()
    assert supervisor.status()["starts"] == 0


def test_key_files_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredError, match="bedrock-prod has several parts: LiteLLM reads none of them from a file"):
        Supervisor(proxy_command(1), [Pairs().variable("", "")], "http://127.0.0.1:1/", files=KeyFiles(tmp_path / "keys"))


def test_a_part_with_the_name_of_another_key_is_refused() -> None:
    async def read() -> HeldKey:
        raise NotImplementedError

    both = [Variable("bedrock-prod", BOTH, read, parts=usual_names().parts), Variable("other", ID, read)]
    with pytest.raises(MisconfiguredError, match=f"two credentials would be delivered as {ID}"):
        Supervisor(proxy_command(1), both, "http://127.0.0.1:1/")
