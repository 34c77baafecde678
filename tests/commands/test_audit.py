"""keyturn audit verify and show: what they print, and how they end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keyturn.audit.log import AuditLog
from keyturn.audit.record import Act, Entry
from keyturn.audit.seal import Seal
from keyturn.material import KeyMaterial
from tests.commands.conftest import Terminal

KEY = "k" * 40


@pytest.fixture
def log(terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "audit.jsonl"
    terminal.config.write_text(terminal.config.read_text() + f"audit: {{file: {path}, key: env:AUDIT_KEY}}\n")
    monkeypatch.setenv("AUDIT_KEY", KEY)
    writer = AuditLog(path, Seal(KeyMaterial(KEY)))
    for name in ("openai-prod", "other", "openai-prod"):
        writer.append(Entry(datetime(2026, 1, 1, tzinfo=UTC), Act.ASKED, name, {"who": "schedule"}, {"why": "scheduled"}))
    return path


def test_a_log_that_is_well(terminal: Terminal, log: Path) -> None:
    found = terminal.json("audit", "verify")
    assert (found["well"], found["records"], found["fault"], found["notes"]) == (True, 3, None, [])
    assert terminal.json("audit", "verify", "--head", found["head"]["hash"])["well"]
    assert "3 records in 1 files" in terminal.type("audit", "verify").stdout


def test_a_line_that_was_changed_is_named_and_the_code_says_so(terminal: Terminal, log: Path) -> None:
    log.write_bytes(log.read_bytes().replace(b'"other"', b'"mine"'))
    found = terminal.json("audit", "verify", code=6)
    assert (found["fault"]["line"], found["records"]) == (2, 1)
    assert f"{log}:2: this line does not have the hash" in terminal.type("audit", "verify").stdout
    result = terminal.type("audit", "show")
    assert result.exit_code == 6 and "cannot be believed" in result.stderr and "openai-prod" not in result.stdout


def test_files_from_elsewhere_need_no_configuration(terminal: Terminal, log: Path) -> None:
    terminal.config.unlink()
    assert terminal.json("audit", "verify", str(log), "--key", "env:AUDIT_KEY")["well"]
    assert not terminal.json("audit", "verify", str(log), code=6)["well"], "sealed with a key that is not given"
    assert terminal.type("audit", "verify", str(log), "--key", KEY).exit_code == 2
    assert KEY not in terminal.type("audit", "verify", str(log), "--key", KEY).output


def test_a_record_that_was_noted_and_is_gone(terminal: Terminal, log: Path) -> None:
    head = terminal.json("audit", "verify")["head"]["hash"]
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    assert terminal.json("audit", "verify")["well"], "what is missing at the end nobody can see from what is left"
    assert not terminal.json("audit", "verify", "--head", head, code=6)["well"]


def test_show_is_of_one_credential_or_all(terminal: Terminal, log: Path) -> None:
    assert [each["number"] for each in terminal.json("audit", "show", "openai-prod")] == [1, 3]
    assert len(terminal.json("audit", "show")) == 3
    told = terminal.type("audit", "show", "other").stdout
    assert "2026-01-01 00:00:00 other asked why scheduled; by schedule" in told


def test_doctor_tells_whether_it_can_be_written(terminal: Terminal, log: Path) -> None:
    def row() -> tuple[bool, str]:
        result = terminal.type("doctor", "--json")
        (found,) = [each for each in json.loads(result.stdout) if each["of"] == "audit"]
        return found["ok"], found["detail"]

    assert row() == (True, "")
    log.write_bytes(log.read_bytes()[:-9] + b"\n")
    assert row() == (False, "the audit log's last line is no record of keyturn's")


def test_without_a_log_it_is_said_how_to_have_one(terminal: Terminal) -> None:
    result = terminal.type("audit", "verify", "--json")
    assert result.exit_code == 2 and "audit: {file" in json.loads(result.stdout)["remedy"]
