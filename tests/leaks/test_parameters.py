"""A key that somebody pastes into Prefect: where it is refused before it is stored, where not, and how to be rid of it."""

from __future__ import annotations

import re
import secrets
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyturn.testing.cells import by_column
from keyturn.testing.embedded import Database, beside
from keyturn.testing.leaks import Needles, in_folder
from keyturn.testing.openai_keys import openai_key
from tests.e2e.conftest import ROOT
from tests.leaks.conftest import DATABASES, Searched
from tests.leaks.evidence import cells, settle
from tests.leaks.loud import Loud
from tests.leaks.ways_in import GOOD, LATER, SCHEDULED, WAYS, Way, deployment

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Pasted:
    """A key for each way, what Prefect answered, and the columns it is in. All keys that must be refused bear `literal`."""

    keys: Mapping[str, str]
    answers: Mapping[str, str]
    columns: Mapping[str, tuple[str, ...]]
    literal: str


def stored(loud: Loud, *keys: str) -> tuple[str, ...]:
    """The columns that hold one of these keys."""
    return columns_with(by_column(cells(loud)), *keys)


def columns_with(columns: Mapping[str, bytes], *keys: str) -> tuple[str, ...]:
    # What PostgreSQL keeps for its planner holds values too, from whenever it comes to look at a table on.
    tables = {place: data for place, data in columns.items() if not place.startswith("pg_catalog.pg_statistic.")}
    found = [place for place, data in tables.items() if any(key.encode() in data for key in keys)]
    return tuple(sorted(place.removeprefix("public.") for place in found))


@pytest.fixture(scope="session")
def pasted(both: Mapping[Database, Searched]) -> Mapping[Database, Pasted]:
    return {database: paste_all(both[database].loud) for database in DATABASES}


def paste_all(loud: Loud) -> Pasted:
    literal = secrets.token_hex(13)
    keys = {way.name: openai_key("svcacct", "" if way.stored else literal).reveal() for way in WAYS}
    answers = {way.name: str(way.paste(loud, keys[way.name]).status_code) for way in WAYS}
    settle(loud)
    columns = by_column(cells(loud))
    return Pasted(keys, answers, {name: columns_with(columns, key) for name, key in keys.items()}, literal)


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_a_pasted_key_is_stored_where_it_is_said_to_be(
    way: Way, database: Database, pasted: Mapping[Database, Pasted]
) -> None:
    assert pasted[database].columns[way.name] == way.stored, f"Prefect answered {pasted[database].answers[way.name]}"


@pytest.mark.parametrize("database", DATABASES)
def test_what_is_refused_is_in_no_file_either(
    database: Database, both: Mapping[Database, Searched], pasted: Mapping[Database, Pasted]
) -> None:
    loud, found = both[database].loud, pasted[database]
    refused = [way.name for way in WAYS if not way.stored]
    assert all(found.answers[name] in ("409", "200") for name in refused), "200: many runs at once, each with its answer"
    folders = [loud.folder] + ([loud.postgres.folder / "data"] if loud.postgres else [])
    assert [leak for folder in folders for leak in in_folder(Needles([found.literal]), folder)] == []


def test_the_table_in_the_docs_is_this_one() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    told = dict(re.findall(r"^\| ([^|]+) \| (refused|stored(?:, in an event too)?)(?: \([^|]+\))? \|", page, re.MULTILINE))
    assert told == {row: answer([way for way in WAYS if way.row == row]) for row in {way.row for way in WAYS}}


def answer(ways: Sequence[Way]) -> str:
    tables = {column.split(".")[0] for way in ways for column in way.stored}
    events = {"events", "event_resources"}
    if not tables:
        return "refused"
    return "stored, in an event too" if tables & events and tables - events else "stored"


def test_prefect_deploy_makes_deployments_that_refuse_the_same(searched: Searched) -> None:
    loud, key = searched.loud, openai_key("svcacct").reveal()
    loud.ask_prefect("POST", "/work_pools/", {"name": "keyturn", "type": "process"})
    before = loud.prefect("GET", "/deployments/name/rotate/keyturn")
    program: list[str | Path] = [beside("prefect"), "--no-prompt", "deploy", "--all"]
    program += ["--prefect-file", "deployments/prefect.yaml"]
    made = subprocess.run(
        program,
        cwd=ROOT,
        env={**loud.full_environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert loud.prefect("GET", "/deployments/name/rotate/keyturn")["updated"] != before["updated"]
    for flow in ("rotate", "retire", "rollback", "respond", "sweep"):
        for wrong in ({"credential": key}, {**GOOD, "api_key": key}, {**GOOD, key: True}):
            body = {"parameters": wrong, "state": SCHEDULED}
            answer = loud.ask_prefect("POST", f"/deployments/{deployment(loud, flow)}/create_flow_run", body)
            assert answer.status_code == 409, wrong.keys()
    assert stored(loud, key) == ()


def test_a_key_that_was_stored_is_purged_as_the_docs_say(searched: Searched) -> None:
    loud, literal = searched.loud, secrets.token_hex(13)
    keys = {name: openai_key("svcacct", literal).reveal() for name in ("parameters", "name", "message", "log")}
    body = {
        "parameters": {**GOOD, "overlap": keys["parameters"]},
        "name": keys["name"],
        "state": {**SCHEDULED, "message": keys["message"]},
        "enforce_parameter_schema": False,
    }
    run = loud.prefect("POST", f"/deployments/{deployment(loud, 'rotate')}/create_flow_run", body)["id"]
    line = {"name": "a.script", "level": 20, "message": keys["log"], "timestamp": LATER.isoformat(), "flow_run_id": run}
    loud.prefect("POST", "/logs/", [line])
    settle(loud)
    assert stored(loud, keys["parameters"]) == ("flow_run.parameters",)

    loud.prefect("DELETE", f"/flow_runs/{run}")
    settle(loud)
    events = ("event_resources.resource", "events.payload", "events.resource")
    assert {name: stored(loud, key) for name, key in keys.items()} == {
        "parameters": (),
        "name": ("event_resources.resource", "events.resource"),
        "message": events,
        "log": (),
    }

    for statement in documented_purge(loud):
        execute(loud, statement)
    assert holding(loud, literal) == []
    assert list(in_folder(Needles([literal]), raw_tables(loud))) == []


def holding(loud: Loud, text: str) -> list[str]:
    """Every column that holds it, of whatever table."""
    return [place for place, data in by_column(cells(loud)).items() if text.encode() in data]


def documented_purge(loud: Loud) -> list[str]:
    page = (ROOT / "docs" / "security.md").read_text()
    (block,) = re.findall(r"^ *```sql\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE)
    statements = re.sub(r"--.*", "", block).split(";")
    others = ("PRAGMA",) if loud.postgres else ("pg_statistic", "VACUUM FULL", "ANALYZE")
    return [each.strip() for each in statements if each.strip() and not any(other in each for other in others)]


def execute(loud: Loud, statement: str) -> None:
    if loud.postgres is not None:
        loud.postgres.execute(statement)
        return
    path = loud.folder / "prefect" / "prefect.db"
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as database:
        database.execute(statement).fetchall()


def raw_tables(loud: Loud) -> Path:
    """Without PostgreSQL's write-ahead log, which holds what was written until it is overwritten."""
    if loud.postgres is None:
        return loud.folder / "prefect"
    loud.postgres.execute("CHECKPOINT")
    return loud.postgres.folder / "data" / "base"
