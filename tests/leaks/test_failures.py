"""Whatever goes wrong, key text is in the stores, the proxies and the provider, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from keyturn.testing.embedded import VAULT, Database
from tests.leaks.conftest import DATABASES, Searched
from tests.leaks.failures import DONE, FAILURES, Failure

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

DEBUG = 10


CASES = [(database, failure) for database in DATABASES for failure in FAILURES[database]]


@pytest.mark.parametrize(("database", "failure"), CASES, ids=[f"{database}: {failure.name}" for database, failure in CASES])
def test_it_failed_as_it_was_meant_to(database: Database, failure: Failure, both: Mapping[Database, Searched]) -> None:
    ran = both[database].ran[failure.name]
    assert ran.code == failure.code, ran.printed[-2000:]
    assert failure.says in ran.printed


def test_every_fault_of_ours_is_in_the_list() -> None:
    from tests.leaks.faults import FAULTS

    assert {failure.fault for _, failure in CASES} - {""} == set(FAULTS)
    for failures in FAILURES.values():
        assert len({failure.name for failure in failures}) == len(failures)


def test_after_all_of_that_a_rotation_succeeds(searched: Searched) -> None:
    ran = searched.ran["after all of that"]
    assert ran.code == DONE, ran.printed[-2000:]
    ours = [key for key in searched.loud.live_keys(VAULT) if key["name"].startswith("keyturn-")]
    assert len(ours) == 1, "and the key that a person had put in its place is theirs"


def test_the_other_ways_to_start_a_run_failed_too(searched: Searched) -> None:
    for name in ("as a program", "by the API"):
        assert searched.ran[name].code, name
        assert "OpenAI answered 401" in searched.ran[name].printed, name
    assert "Prefect's API does not answer" in searched.ran["without Prefect"].printed


def test_everything_was_told_at_debug(searched: Searched) -> None:
    """Else there would be little to search."""
    printed, logs = searched.ran["after all of that"].printed, searched.loud.folder / "logs"
    assert "| DEBUG   | asyncio - " in printed and "| DEBUG   | prefect.client - " in printed
    assert "DEBUG" in (logs / "prefect.log").read_text() and " DEBUG " in (logs / "member-1.log").read_text()
    assert f'"level": {DEBUG}' in (searched.evidence / "api" / "logs.json").read_text()
    assert "prefect_" in next(searched.loud.output.glob("*.metrics")).read_text()
    assert "python_info" in (searched.evidence / "api" / "metrics").read_text()
    for name in ("artifacts", "events", "flow_run_states", "flow_runs", "logs", "task_run_states", "task_runs"):
        assert (searched.evidence / "api" / f"{name}.json").stat().st_size > 1000, name


def test_no_file_log_answer_or_cell_holds_key_text(searched: Searched) -> None:
    assert list(searched.leaks) == []


def test_no_process_but_the_proxies_was_ever_given_a_key(searched: Searched) -> None:
    watch = searched.watch
    assert watch.leaks == []
    assert watch.found_in_proxies, "the watch can see one"
    for program in (
        "tests.leaks.zygote",
        "prefect server start",
        "tests.leaks.loud_exec",
        "keyturn serve",
        "keyturn rotate",
    ):
        assert any(program in each for each in watch.programs), program


def test_the_second_net_finds_nothing_either(searched: Searched) -> None:
    assert [str(found) for found in searched.findings] == []


def test_an_aborted_process_tells_where_it_was_and_not_what_it_held(both: Mapping[Database, Searched]) -> None:
    """faulthandler shows no local variables. That no text of a key is in it, the search has seen."""
    printed = both["postgres"].ran["aborted after create"].printed
    assert "Fatal Python error: Aborted" in printed and 'create.py", line' in printed
