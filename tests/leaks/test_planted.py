"""Both nets find a key that was planted where each kind of text is kept: else that they found none would say nothing."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from keyturn.testing.embedded import WHOLE_AWS
from keyturn.testing.leaks import Needles, in_folder
from keyturn.testing.openai_keys import openai_key
from keyturn.testing.scanners import scan
from keyturn.testing.watch import Watch
from tests.leaks.conftest import Searched
from tests.leaks.evidence import collect, settle
from tests.leaks.loud import Loud
from tests.leaks.ways_in import WAYS

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

INTO = (
    "a run with the check off",
    "a run's name: new",
    "the message of a run's state: new",
    "a run's log",
    "an event",
    "a variable",
    "an artifact",
)
FILES = ("logs/planted.log", "output/planted.out", "prefect/storage/planted", "home/planted", "tmpdir/planted")


def test_both_nets_find_a_planted_key_wherever_it_is(searched: Searched) -> None:
    loud, literal = searched.loud, secrets.token_hex(13)
    key = openai_key("svcacct", literal).reveal()
    needles = Needles([literal])
    ways = [way for way in WAYS if way.name in INTO]
    assert len(ways) == len(INTO)
    for way in ways:
        assert way.paste(loud, key).is_success, way.name
    for name in FILES:
        (loud.folder / name).parent.mkdir(exist_ok=True)
        (loud.folder / name).write_text(f"a key: {key}\n")
    loud.aws_client().tag_resource(SecretId=WHOLE_AWS, Tags=[{"Key": "planted", "Value": key}])
    loud.bao.root.secrets.kv.v2.update_metadata("planted", mount_point="secret", custom_metadata={"planted": key})
    settle(loud)
    collect(loud, "planted")

    columns = {column for way in ways for column in way.stored}
    expected = {f"evidence/planted/cells/{_prefix(loud)}{column}.txt" for column in columns} | set(FILES)
    expected |= {f"evidence/planted/api/{name}.json" for name in ("flow_runs", "logs", "events", "variables", "artifacts")}
    expected |= {f"evidence/planted/parts/{name}.json" for name in ("aws", "vault")}
    first = {leak.place.removeprefix("file ") for leak in in_folder(needles, loud.folder)}
    assert expected <= first, expected - first
    findings = [found for found in scan(loud.folder) if found.value == key]
    for scanner in ("betterleaks", "gitleaks"):
        second = {str(found.path) for found in findings if found.scanner == scanner}
        assert expected <= second, (scanner, expected - second)
    if loud.postgres is None:
        assert {f"prefect.db: {column}" for column in columns} <= first
    else:
        loud.postgres.execute("CHECKPOINT")
        raw = {leak.place.split("/")[0] for leak in in_folder(needles, loud.postgres.folder / "data")}
        assert {"file base", "file pg_wal"} <= raw
        assert "file logs/postgres.log" in {leak.place for leak in in_folder(needles, loud.folder)}


def _prefix(loud: Loud) -> str:
    return "" if loud.postgres is None else "public."


START: tuple[Callable[[str], tuple[list[str], dict[str, str]]], ...] = (
    lambda key: ([key], {}),
    lambda key: ([], {"LEAKED": key}),
)


@pytest.mark.parametrize("start", START, ids=["command line", "environment"])
def test_the_watch_finds_a_key_that_a_process_was_given(start: Callable[[str], tuple[list[str], dict[str, str]]]) -> None:
    key = openai_key("svcacct").reveal()
    words, environ = start(key)
    program = [sys.executable, "-c", "print(flush=True); input()", *words]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(program, env={**os.environ, **environ}, **pipes) as process:
        # Popen comes back a moment before the system has laid out the new program's words and environment.
        assert process.stdout is not None
        process.stdout.readline()
        elsewhere, proxies = Watch(Needles([key]), list), Watch(Needles([key]), lambda: [os.getpid()])
        for watch in (elsewhere, proxies):
            watch.look()
        process.communicate(b"\n")
    assert [leak.place.split()[-1] for leak in elsewhere.leaks] == [str(process.pid)]
    assert proxies.leaks == [] and proxies.found_in_proxies == 1
