"""keyturn status, plan and doctor: what they say of a world that is well, half-way, or out of reach. They change nothing."""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.assembly import assemble
from keyturn.commands.look import ORDER
from keyturn.config import load
from keyturn.delivery import variable_names
from keyturn.errors import DeniedError, LostAnswerError, UnavailableError
from keyturn.key_parts import AWS_ACCESS_KEY, stranger
from keyturn.lifecycle import Asked
from keyturn.material import KeyMaterial
from keyturn.model import LoginLife, Stage
from keyturn.steps.create import create
from keyturn.steps.observe import begin, observe
from keyturn.steps.write import write
from tests.commands.conftest import Terminal


def status(terminal: Terminal, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = terminal.json("status", code=code)
    assert list(found) == ["openai-prod"]
    facts: dict[str, Any] = found["openai-prod"]
    return facts


def half_way() -> KeyMaterial:
    """A key is created and written; then the run dies."""

    async def run() -> KeyMaterial:
        async with assemble(load(), "openai-prod") as c:
            turn = await begin(c, Asked(c.now()))
            key = await create(c, turn)
            assert key is not None
            await write(c, turn, key)
            return key.material

    return asyncio.run(run())


def test_status_has_this_shape(terminal: Terminal) -> None:
    fingerprint = terminal.world.first_key.material.fingerprint()
    assert status(terminal) == {
        "next": {"step": "create", "check": "due", "sentence": "a new key is due (manual)"},
        "stages": {"current": fingerprint},
        "serving": {"local": {"one": fingerprint, "two": fingerprint}},
        "lagging": [],
        "keys": {"current": "", "pending": "", "old": []},
        "promoted_at": None,
        "proved_at": None,
        "retire_after": None,
        "proof": "",
        "failures": 0,
        "failure": "",
        "parked": "",
        "strays": 0,
        "held_up": "",
        "problems": [],
        "age_seconds": None,
        "due_at": None,
        "overdue": False,
        "expires_at": None,
        "login": None,
    }


def test_status_shows_what_stands_half_way(terminal: Terminal) -> None:
    material = half_way()
    facts = status(terminal)
    assert facts["next"]["check"] == "staged"
    assert facts["stages"]["pending"] == material.fingerprint()
    assert facts["keys"]["pending"] == "key_2"


def test_status_says_unknown_of_a_member_that_does_not_tell(terminal: Terminal) -> None:
    terminal.world.fleet.loaded["two"] = None
    assert status(terminal)["serving"]["local"]["two"] is None
    assert "1 of 2" in terminal.type("status").stdout


def test_status_is_not_well_when_something_cannot_be_seen(terminal: Terminal) -> None:
    terminal.world.provider.fail["list"] = DeniedError("the admin key is refused", remedy="renew it")
    facts = status(terminal, code=6)
    assert facts["problems"] == ["provider: the admin key is refused Remedy: renew it"]
    assert facts["next"]["step"] == "create", "the rest is told all the same"
    assert "the admin key is refused" in terminal.type("status").stdout


def test_an_unreachable_store_is_not_taken_for_an_empty_one(terminal: Terminal) -> None:
    async def stages(secret: object) -> dict[Stage, object]:
        raise UnavailableError("the store is sealed")

    terminal.monkeypatch.setattr(terminal.world.store, "stages", stages)
    facts = status(terminal, code=6)
    assert facts["next"] == {"step": "stop", "check": "unseen", "sentence": "not known: the secret could not be read"}
    assert terminal.json("plan", "openai-prod", code=6)["steps"] == []


def test_the_table_has_a_row_for_each_credential(terminal: Terminal) -> None:
    printed = terminal.type("status").stdout
    assert "openai-prod" in printed
    assert "a new key is due (manual)" in printed
    assert "2 of 2" in printed


@pytest.mark.parametrize("command", [["status"], ["plan", "openai-prod"]])
def test_no_key_is_printed(command: list[str], terminal: Terminal) -> None:
    staged = half_way()
    for words in (command, [*command, "--json"]):
        printed = terminal.type(*words).output
        assert staged.reveal() not in printed
        assert terminal.world.first_key.material.reveal() not in printed


def test_plan_lists_the_steps_in_their_order(terminal: Terminal) -> None:
    found = terminal.json("plan", "openai-prod")
    assert found["next"]["step"] == "create"
    assert list(dict.fromkeys(row["step"] for row in found["steps"])) == list(ORDER)
    assert all(row["where"] for row in found["steps"])


def test_plan_of_what_stands_half_way_begins_there(terminal: Terminal) -> None:
    half_way()
    steps = list(dict.fromkeys(row["step"] for row in terminal.json("plan", "openai-prod")["steps"]))
    assert steps == ["observe", "validate", "promote", "roll", "prove", "revoke"]


def test_plan_names_the_risks(terminal: Terminal) -> None:
    risks = terminal.json("plan", "openai-prod")["risks"]
    assert "the provider cannot disable a key: deleting it is final" in risks
    assert "nothing is scheduled, so the new key is given no expiry" in risks
    assert "the old key lives on for 1h after the proof" in risks
    assert risks[0] in terminal.type("plan", "openai-prod").stdout


def test_looking_changes_nothing(terminal: Terminal) -> None:
    world = terminal.world
    half_way()
    before = (
        asyncio.run(observe(world.worker())),
        json.dumps(world.store.documents),
        dict(world.provider.keys),
        world.provider.made,
    )
    for words in (["status"], ["plan", "openai-prod"], ["doctor"]):
        terminal.type(*words)
    after = (
        asyncio.run(observe(world.worker())),
        json.dumps(world.store.documents),
        dict(world.provider.keys),
        world.provider.made,
    )
    assert before == after
    assert world.fleet.rolls == []


def test_doctor_lists_every_finding_with_its_remedy(terminal: Terminal) -> None:
    rows = terminal.json("doctor", code=6)
    assert {tuple(row) for row in rows} == {("of", "what", "ok", "detail", "remedy")}
    by_what = {row["what"]: row for row in rows}
    assert by_what["provider answers"]["ok"] is True
    assert by_what["API"] == {
        "of": "prefect",
        "what": "API",
        "ok": None,
        "detail": "PREFECT_API_URL is not set: each command starts a server of its own, and no schedule runs",
        "remedy": "start `prefect server start` and set PREFECT_API_URL",
    }
    bad = [row for row in rows if row["ok"] is False]
    assert bad, "the members of a world in memory have no address"
    assert all(row["detail"] and row["remedy"] for row in bad)
    printed = terminal.type("doctor").stdout
    assert "remedy: " + bad[0]["remedy"] in printed


def test_doctor_says_whether_a_key_of_several_parts_can_be_taken_apart(terminal: Terminal) -> None:
    terminal.monkeypatch.setitem(variable_names.PARTS_BY_PROVIDER_KIND, "memory", AWS_ACCESS_KEY)
    for text, well in ((secrets.token_hex(24), False), (stranger(AWS_ACCESS_KEY).reveal(), True)):
        terminal.world.store.documents["litellm/providers"] = {"OPENAI_API_KEY": text}
        rows = terminal.json("doctor", code=6)
        (row,) = [row for row in rows if row["what"].endswith("its key has 2 parts")]
        assert (row["ok"], bool(row["remedy"])) == (well, not well)
        assert text not in str(rows)


def test_doctor_survives_a_fleet_that_does_not_tell_its_members(terminal: Terminal) -> None:
    async def members() -> None:
        raise UnavailableError("the platform does not list them", remedy="start it")

    terminal.monkeypatch.setattr(terminal.world.fleet, "members", members)
    rows = [row for row in terminal.json("doctor", code=6) if row["of"] == "openai-prod"]
    assert [(row["what"], row["remedy"]) for row in rows if row["ok"] is False] == [("canary local", "start it")]
    assert [row["ok"] for row in rows].count(True) == 3, "the other parts are looked at all the same"


@pytest.mark.parametrize("url", ["http://user:{}@127.0.0.1:9/api", "http://user:{}@127.0.0.1:x/api", "http://[{}", "{}"])
def test_an_address_of_prefect_that_cannot_work_is_a_finding_and_shows_no_password(terminal: Terminal, url: str) -> None:
    word = "sk-" + secrets.token_hex(24)
    terminal.monkeypatch.setenv("PREFECT_API_URL", url.format(word))
    rows = terminal.json("doctor", code=6)
    assert [row["ok"] for row in rows if "does not answer" in row["detail"]] == [False]
    assert word not in str(rows)


def test_doctor_says_that_prefect_does_not_answer(terminal: Terminal) -> None:
    terminal.monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    (row,) = [row for row in terminal.json("doctor", code=6) if row["of"] == "prefect"]
    assert (row["ok"], row["remedy"]) == (False, "start it, or correct PREFECT_API_URL")
    assert "http://127.0.0.1:9/api does not answer" in row["detail"]


def test_a_stray_is_counted(terminal: Terminal) -> None:
    world = terminal.world

    async def lose_the_answer() -> None:
        async with assemble(load(), "openai-prod") as c:
            await create(c, await begin(c, Asked(c.now())))

    world.provider.lose_answers = 1
    with pytest.raises(LostAnswerError):
        asyncio.run(lose_the_answer())
    assert status(terminal)["strays"] == 1


OTHER = """  other: {kind: openai, admin_key: "store:memory/litellm/providers#OPENAI_API_KEY", project: proj_a}
"""


def test_plan_names_who_else_logs_in_with_the_secret(terminal: Terminal) -> None:
    terminal.config.write_text(terminal.config.read_text().replace("stores:", f"{OTHER}stores:"))
    risks = terminal.json("plan", "openai-prod")["risks"]
    (told,) = [risk for risk in risks if risk.startswith("providers.other.admin_key")]
    assert "read anew for each call" in told


def test_status_and_doctor_tell_how_old_a_login_is(terminal: Terminal) -> None:
    async def login_life() -> LoginLife:
        return life

    terminal.monkeypatch.setattr(terminal.world.provider, "login_life", login_life, raising=False)
    for days, ok, code in ((60, True, 0), (3, None, 0), (-1, False, 6)):
        life = LoginLife(None, datetime.now(UTC) + timedelta(days=days, minutes=1))
        login = status(terminal, code=code)["login"]
        assert (login["provider"], login["age"]) == ("org", {True: "fine", None: "ends soon", False: "too old"}[ok])
        assert f"login of org: {login['age']}: {login['sentence']}" in terminal.type("status").stdout
        (row,) = [row for row in terminal.json("doctor", code=6) if row["of"] == "provider org"]
        assert (row["ok"], row["detail"]) == (ok, login["sentence"])
