"""Scale-out on Prefect's own engine: three workers and two servers over PostgreSQL and Redis, of which one each dies.

Judged from outside: by the provider's double, the store, the proxies' doubles, and Prefect's database.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from keyturn.testing.processes import Processes
from keyturn.testing.programs import installed
from tests.e2e.conftest import ROOT
from tests.e2e.replicas import Replicas
from tests.e2e.scale_costs import told
from tests.e2e.scale_story import Story, begun, owner
from tests.e2e.scaled import Scaled

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

COUNT = int(os.environ.get("KEYTURN_SCALE", "200"))
ASKED_FOR = COUNT // 16  # by a run of their own: each is a process, which costs seconds


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Story]:
    """Played to its end; the parts still run. Prints what it has cost."""
    folder = tmp_path_factory.mktemp("scale-out")
    processes, replicas = Processes(folder / "logs"), None
    try:
        scaled = Scaled(processes, folder, COUNT)
        replicas = Replicas(processes, folder / "replicas")
        found = begun(scaled, replicas, folder)
        began = time.monotonic()
        found.play(ASKED_FOR)
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(f"\n{COUNT} credentials in {time.monotonic() - began:.0f} s\n{told(found)}")  # noqa: T201
        yield found
    finally:
        for name in [name for name in processes.running if name.startswith("machine-")]:
            processes.stop(name, grace=30)
        if replicas is not None:
            replicas.stop()
        processes.stop()


@pytest.fixture(scope="module")
def keys(story: Story) -> dict[str, list[dict[str, Any]]]:
    """Every key that ever was, by its credential."""
    found = defaultdict(list)
    for key in story.scaled.every_key():
        found[owner(key)].append(key)
    return found


def test_the_dead_had_credentials_in_hand(story: Story) -> None:
    """Else the rest would prove nothing."""
    assert story.in_hand and len(story.machines) == 2


def test_each_has_one_new_key_in_service_and_the_old_one_as_its_overlap_says(
    story: Story, keys: dict[str, list[dict[str, Any]]]
) -> None:
    assert set(keys) == set(story.scaled.names)
    for name, every in keys.items():
        (new,) = (key for key in every if key["accepted"] and key["name"].startswith("keyturn-"))
        assert new["fingerprint"] == story.scaled.served(name)
        (old,) = (key for key in every if key["fingerprint"] == story.scaled.first[name])
        assert (old["accepted"], old["deletions"]) == ((True, 0) if story.scaled.has_overlap(name) else (False, 1)), name


def test_nothing_was_made_or_rolled_twice(story: Story, keys: dict[str, list[dict[str, Any]]]) -> None:
    """A key whose text died with the machine, between create and write, cannot be read again: it was replaced, and ended."""
    for name, every in keys.items():
        made = [key for key in every if key["name"].startswith("keyturn-")]
        assert len(made) == 1 or name in story.in_hand, name
        assert sum(key["accepted"] for key in made) == 1 and len(made) <= 2, name
    assert story.scaled.writes() == dict.fromkeys(story.scaled.names, 1)


def test_keyturn_finds_nothing_half_way_and_no_stray(story: Story) -> None:
    environ = {**os.environ, **story.scaled.environ, **story.replicas.environ_beside}
    words = list(map(str, installed(("keyturn", "status", "--json"))))
    done = subprocess.run(words, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    standing = json.loads(done.stdout)
    for name in story.scaled.names:
        assert standing[name]["strays"] == 0, standing[name]
        wanted = "wait" if story.scaled.has_overlap(name) else "create"
        assert standing[name]["next"]["step"] == wanted, standing[name]


def test_the_end_of_each_overlap_is_asked_for_once(story: Story) -> None:
    found = story.rows("""
        SELECT r.parameters->>'credential' FROM flow_run r JOIN flow f ON f.id = r.flow_id
        WHERE f.name = 'retire' AND r.state_type = 'SCHEDULED'
    """)
    wanted = {name: 1 for name in story.scaled.names if story.scaled.has_overlap(name)}
    assert Counter(name for (name,) in found) == wanted


def test_no_two_runs_were_at_work_in_one_credential_at_once(story: Story) -> None:
    """By the times of the steps that change something, whichever process they ran in. What died ended with its machine."""
    found = story.rows("""
        SELECT r.parameters->>'credential', r.id, extract(epoch FROM t.start_time), extract(epoch FROM t.end_time)
        FROM task_run t JOIN flow_run r ON r.id = t.flow_run_id
        WHERE split_part(t.name, '-', 1) IN ('create', 'write', 'promote', 'roll', 'revoke') AND t.start_time IS NOT NULL
    """)
    steps = defaultdict(list)
    for name, run, start, end in found:
        steps[name].append((float(start), float(end) if end is not None else story.died_at, run))
    assert set(steps) == set(story.scaled.names)
    for name, every in steps.items():
        for (_, before, first), (after, _, second) in pairwise(sorted(every)):
            assert first == second or before <= after, name


def test_no_run_is_left_that_nobody_works_at(story: Story) -> None:
    assert story.dead_runs and story.open_among_the_dead() == set()
    states = dict(story.rows("SELECT id, state_type FROM flow_run"))
    assert {states[run] for run in story.dead_runs} <= {"CRASHED", "COMPLETED", "SCHEDULED"}
