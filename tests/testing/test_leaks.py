"""The search for leaks finds what is planted, in every form, and nothing where there is nothing."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from keyturn.testing.leaks import Needles, descendants, in_folder, in_processes


@pytest.fixture
def key() -> str:
    return "sk-" + secrets.token_urlsafe(30) + '/+"\\'


def test_a_key_is_found_raw_and_escaped_and_in_base64_at_any_alignment(key: str) -> None:
    needles = Needles([key])
    forms = [key, quote(key, safe=""), json.dumps(key), key.encode().hex()]
    forms += [base64.b64encode(b"x" * n + key.encode()).decode() for n in range(3)]
    forms += [base64.urlsafe_b64encode(b"x" * n + key.encode()).decode() for n in range(3)]
    for form in forms:
        assert needles.count(f"before {form} after".encode()) > SLACK, form


SLACK = 11  # at least one whole piece


def test_any_twelve_characters_are_found_and_eleven_are_not(key: str) -> None:
    needles = Needles([key])
    for start in range(len(key) - 11):
        assert needles.count(key[start : start + 12].encode()) == 12
    assert needles.count(key[:11].encode()) == 0


def test_bytes_are_counted_once_though_pieces_overlap(key: str) -> None:
    assert Needles([key]).count(f"{key} {key}".encode()) == 2 * len(key)


def test_a_short_needle_is_refused() -> None:
    with pytest.raises(ValueError, match="12 characters"):
        Needles(["short"])


def test_a_planted_key_is_found_in_files_names_and_databases(tmp_path: Path, key: str) -> None:
    plain = "sk" + secrets.token_hex(20)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "app.log").write_text(f"request with {plain}")
    (tmp_path / f"cache-{plain}").write_text("nothing")
    database = sqlite3.connect(tmp_path / "prefect.db")
    database.execute("create table log (message text)")
    # Longer than a page: its bytes lie on several, so only the cell is sure to be whole.
    database.execute("insert into log values (?)", ("y" * 4090 + plain + "z" * 9000,))
    database.commit()
    database.close()
    places = {leak.place for leak in in_folder(Needles([plain]), tmp_path)}
    assert "file deep/app.log" in places
    assert f"name of file cache-{plain}" in places
    assert "prefect.db: log.message" in places
    assert in_folder(Needles([key]), tmp_path) == []


def test_a_planted_key_is_found_in_a_process_and_only_there() -> None:
    key = "sk-" + secrets.token_hex(20)
    code = "print('up', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, key],
        env={**os.environ, "LEAKED": key},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout and process.stdout.readline() == b"up\n"
        assert process.pid in descendants(os.getpid())
        found = {leak.place for leak in in_processes(Needles([key]), [process.pid, os.getpid()])}
        process.communicate(b"\n")
    assert found == {f"environ of process {process.pid}", f"cmdline of process {process.pid}"}
