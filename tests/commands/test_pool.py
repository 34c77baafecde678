"""keyturn pool: keys go in by standard input and never come out, and a person closes what waits for them."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from datetime import timedelta

import pytest
from typer.testing import CliRunner, Result

from keyturn.cli import app
from keyturn.commands import pool as command
from keyturn.lifecycle import Reason
from keyturn.material import KeyMaterial
from keyturn.testing.memory_pool import POOL, MemoryPool
from keyturn.testing.world import MemoryCanary, World
from tests.commands import memory_parts
from tests.commands.conftest import Terminal
from tests.steps import plain_flows


@pytest.fixture
def pool(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> MemoryPool:
    """The terminal's world has a pool with six keys, for a vendor that has a console alone."""
    world = asyncio.run(World.make(provider_of=MemoryPool))
    memory_parts.install(world)
    terminal.world = world
    provider = world.provider
    assert isinstance(provider, MemoryPool)
    provider.can_end = False
    provider.capabilities = replace(provider.capabilities, propagation=timedelta(0))  # the commands wait in real time
    monkeypatch.setattr("keyturn.assembly.LiteLLMCanary", lambda **_: MemoryCanary(provider, world.fleet))
    return provider


def typed(text: str, *words: str) -> Result:
    return CliRunner().invoke(app, ["pool", *words], input=text)


def new(pool: MemoryPool) -> str:
    """A person has made a key in the console."""
    return pool.add(pool.new_key(), "made for the pool").material.reveal()


def test_keys_are_put_in_one_a_line_and_not_printed(terminal: Terminal, pool: MemoryPool) -> None:
    keys = [new(pool) for _ in range(2)]
    result = typed("\n".join((keys[0], "", keys[1], "")), "add", "openai-prod", "--expires", "2027-06-30")
    assert result.exit_code == 0, result.output
    assert "entry_7" in result.output and "entry_8" in result.output
    assert not any(key in result.output or key[-5:] in result.output for key in keys)
    entries = asyncio.run(pool.entries())
    assert [str(entry.key.expires_at)[:10] for entry in entries[6:] if entry.key] == ["2027-06-30"] * 2


def test_one_that_is_refused_keeps_no_other_out(terminal: Terminal, pool: MemoryPool) -> None:
    dead, good = "sk-" + secrets.token_hex(24), new(pool)
    current = terminal.world.first_key.material.reveal()
    result = typed("\n".join((dead, current, good)), "add", "openai-prod")
    assert result.exit_code == 6
    assert "refused" in result.output and "in use already" in result.output and "entry_7" in result.output
    assert not any(key in result.output for key in (dead, good, current))


def test_what_is_wrong_is_said_and_never_repeated(terminal: Terminal, pool: MemoryPool) -> None:
    key = new(pool)
    for text, words, says in (
        ("", (), "no key was given"),
        (f"{key} {key}\tx\n", (), "is no key"),
        (key, ("--expires", key), "must be a date"),
    ):
        result = typed(text, "add", "openai-prod", *words)
        assert result.exit_code == 2
        assert says in result.stderr
        assert key not in result.output


def test_a_provider_without_a_pool_says_so(terminal: Terminal) -> None:
    for words in (("add", "openai-prod"), ("list", "openai-prod"), ("retired", "openai-prod", "x")):
        result = typed("sk-" + secrets.token_hex(24), *words)
        assert result.exit_code == 2
        assert "has no pool" in result.stderr


def test_the_list_tells_states_and_no_text(terminal: Terminal, pool: MemoryPool) -> None:
    world = terminal.world
    with plain_flows.plainly():
        asyncio.run(plain_flows.rotate(world.worker(), world.clock.now(), Reason.MANUAL))
    found = terminal.json("pool", "list", "openai-prod")
    assert (found["free"], found["size"], found["is_well"]) == (5, len(POOL), True)
    assert [row["state"] for row in found["places"]][:2] == ["in service", "free"]
    assert [row["state"] for row in found["places"]][-1] == "empty"
    shown = terminal.type("pool", "list", "openai-prod")
    assert "in service" in shown.output and "5 free, of 8 places" in shown.output
    for row in asyncio.run(pool.ledger.rows()):
        if row.key is not None:
            assert row.key.material.reveal()[-5:] not in shown.output + str(found)


def test_a_pool_that_runs_low_is_not_well(terminal: Terminal, pool: MemoryPool) -> None:
    for number in range(6):
        asyncio.run(pool.take(f"keyturn-other-{number}", ()))
    found = terminal.json("pool", "list", "openai-prod", code=6)
    assert found["free"] == 0
    assert found["places"][0]["state"] == "taken by keyturn-other-0"


def test_a_person_closes_what_waits_for_them(terminal: Terminal, pool: MemoryPool) -> None:
    world = terminal.world
    with plain_flows.plainly():
        asyncio.run(plain_flows.rotate(world.worker(), world.clock.now(), Reason.MANUAL))
        world.clock.forward(hours=2)
        asyncio.run(plain_flows.retire(world.worker(), world.clock.now()))
    (old,) = terminal.json("pool", "list", "openai-prod")["old"]
    assert old["by_hand"]
    assert "waits for a person" in terminal.type("pool", "list", "openai-prod").output
    early = terminal.type("pool", "retired", "openai-prod", old["id"])
    assert early.exit_code == 6
    assert "not deleted" in early.stderr and "console" in early.stderr
    del pool.keys[world.first_key.ref.id]
    done = terminal.type("pool", "retired", "openai-prod", old["id"])
    assert done.exit_code == 0, done.output
    assert terminal.json("pool", "list", "openai-prod")["old"] == []
    assert terminal.type("pool", "retired", "openai-prod", "nobody").exit_code == 6


def test_at_a_terminal_keys_are_asked_for_unseen(pool: MemoryPool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter(["one-key-of-a-person", "another-of-them", ""])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda _: next(asked))
    assert [isinstance(each, KeyMaterial) for each in command._given()] == [True, True]
