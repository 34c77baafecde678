"""What doctor says of a fleet's way to a new key, by what its members can do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from keyturn.assembly import Adapters
from keyturn.commands.look_fleets import gentlest
from keyturn.config import load
from keyturn.errors import UnavailableError
from keyturn.fleets.supervisor_answers import Status
from keyturn.material import KeyMaterial
from keyturn.model import Finding, Member
from keyturn.parts import Part
from keyturn.testing.litellm_credentials import LiteLLMDatabase, Proxy
from keyturn.testing.world import new_key
from tests.commands.conftest import Terminal
from tests.commands.memory_parts import PartSettings


@dataclass
class Unsupervised:
    """A fleet that something else rolls."""

    names: Sequence[str]

    async def members(self) -> Sequence[Member]:
        return [Member(name, f"http://{name}") for name in self.names]


@dataclass
class Supervised(Unsupervised):
    restarts: bool
    silent: bool = False

    async def look(self, member: Member) -> Status:
        if self.silent:
            raise UnavailableError("the supervisor cannot be reached", remedy="start it")
        return Status("serving", {}, (), "", self.restarts)


async def found(fleet: Unsupervised, versions: str = "1.106.2", connected: bool = False, kind: str = "") -> Finding:
    litellm = LiteLLMDatabase(new_key(), {name: Proxy() for name in fleet.names}, version=versions, connected=connected)

    async def master_key() -> KeyMaterial:
        return litellm.master_key

    part = Part("prod", kind, PartSettings(), has_database=kind == "litellm_credentials")
    return await gentlest(part, fleet, master_key, litellm.transport)  # type: ignore[arg-type]


BOTH = ("one", "two")


@pytest.mark.parametrize(
    ("fleet", "versions", "connected", "kind", "ok", "words"),
    [
        (Unsupervised(BOTH), "1.106.2", True, "litellm_credentials", True, "PATCH of LiteLLM's credentials, which is what"),
        (Unsupervised(BOTH), "1.106.2", False, "litellm_credentials", None, "a member cannot"),
        (Supervised(BOTH, True), "1.106.2", True, "process", None, "PATCH of LiteLLM's credentials: each member has"),
        (Supervised(BOTH, True), "1.109.1", True, "process", None, "PATCH of LiteLLM's credentials: each member has"),
        (
            Supervised(BOTH, True),
            "1.109.1",
            False,
            "process",
            None,
            "a file that is read at each request: they run LiteLLM 1.109.1",
        ),
        (Supervised(BOTH, False), "1.109.1", True, "process", True, "a file that is read at each request, which is what"),
        (Supervised(BOTH, True), "1.106.2", False, "process", True, "a supervisor's restart, drained, which is what"),
        (Unsupervised(BOTH), "1.106.2", False, "command", True, "a roll by what runs the members, which is what"),
        (Unsupervised(BOTH), "1.109.1", False, "command", None, "a file that is read at each request"),
        (Unsupervised(BOTH), "1.106.2", True, "command", None, "PATCH of LiteLLM's credentials"),
    ],
)
async def test_the_gentlest_way_that_all_members_support(
    fleet: Unsupervised, versions: str, connected: bool, kind: str, ok: bool | None, words: str
) -> None:
    finding = await found(fleet, versions, connected, kind)
    assert finding.ok is ok
    assert words in finding.detail
    assert bool(finding.remedy) is (ok is None)


async def test_a_member_that_cannot_be_asked_leaves_it_open() -> None:
    finding = await found(Supervised(BOTH, True, silent=True))
    assert (finding.ok, finding.remedy) == (None, "start it")


def test_doctor_has_one_line_for_each_fleet(terminal: Terminal) -> None:
    rows = [row for row in terminal.json("doctor", code=6) if row["what"] == "gentlest way to a new key"]
    assert [row["of"] for row in rows] == ["proxies local"]


DATABASE = "{kind: litellm_credentials, members: ['http://127.0.0.1:1'], master_key: env:LITELLM_MASTER_KEY}"


def with_a_database(terminal: Terminal) -> None:
    text = terminal.config.read_text().replace("local: {kind: memory}", f"local: {{kind: memory}}\n  db: {DATABASE}")
    terminal.config.write_text(text.replace("proxies: [local]", "proxies: [local, db]"))


def test_a_fleet_with_a_database_is_wired_to_what_the_store_holds(terminal: Terminal) -> None:
    with_a_database(terminal)
    calls = [row["call"] for row in terminal.json("plan", "openai-prod")["steps"] if row["where"] == "db"]
    assert "PATCH /credentials/NAME, once for all members, with the key's own fields alone" in calls
    assert terminal.json("status")["openai-prod"]["serving"]["db"] == {"127.0.0.1:1": None}

    async def held() -> set[str]:
        return {each.version.fingerprint for each in (await Adapters(load()).held("openai-prod")).values()}

    assert asyncio.run(held()) == {terminal.world.first_key.material.fingerprint()}


def test_the_keys_of_a_fleet_with_a_database_are_given_to_no_program(terminal: Terminal) -> None:
    with_a_database(terminal)
    result = terminal.type("env", "--proxy", "db")
    assert result.exit_code == 2
    assert "db has its keys in LiteLLM's own database" in result.stderr
    assert terminal.world.first_key.material.reveal() not in result.output
