"""A file of secrets: who can read it, whether git has it, and where a compose file leads to it."""

from __future__ import annotations

import os
import subprocess

import pytest

from keyturn.lint.finding import Severity
from tests.lint.conftest import Folder
from tests.lint.examples import filled

KEY = filled("OPENAI_API_KEY=<openai>\n")


def git(folder: Folder, *words: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, *words], cwd=folder.path, check=True, capture_output=True)


def rules(folder: Folder, *names: str) -> list[tuple[str, str]]:
    return sorted((each.rule.id, each.severity.value) for each in folder.report(*names).findings)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666])
def test_a_file_that_all_can_read(mode: int, folder: Folder) -> None:
    folder.write(".env", KEY, mode)
    assert rules(folder) == [("KT101", "error"), ("KT104", "error")]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_private_file_outside_of_git_may_hold_keys(mode: int, folder: Folder) -> None:
    folder.write(".env", KEY, mode)
    assert rules(folder) == [("KT101", "note")]


def test_a_file_that_git_tracks_or_is_about_to(folder: Folder) -> None:
    folder.write(".env", KEY)
    git(folder, "init")
    assert rules(folder) == [("KT101", "note")]
    git(folder, "add", ".env")  # as a pre-commit hook finds it
    assert rules(folder) == [("KT101", "error"), ("KT105", "error")]
    git(folder, "commit", "-m", "x")
    assert rules(folder) == [("KT101", "error"), ("KT105", "error")]


def test_a_password_without_a_form_is_a_secret_too(folder: Folder) -> None:
    folder.write(".env", filled("DB_PASSWORD=<word>\n"), 0o644)
    assert ("KT104", "error") in rules(folder)


@pytest.mark.parametrize(
    "text",
    [
        "OPENAI_API_KEY=\n",
        "# OPENAI_API_KEY=\n",
        "OPENAI_API_KEY=sk-your-key-goes-here\n",
        "PORT=4000\n",
        "A_TOKEN=$OTHER\n",
    ],
)
def test_without_secrets_anybody_may_read_it(text: str, folder: Folder) -> None:
    folder.write(".env", text, 0o644)
    git(folder, "init")
    git(folder, "add", ".env")
    assert rules(folder) == []


def test_nothing_of_the_repository_is_run(folder: Folder) -> None:
    git(folder, "init")
    folder.write("monitor.sh", f"#!/bin/sh\ntouch '{folder.path}/was-run'\n", 0o700)
    git(folder, "config", "core.fsmonitor", f"{folder.path}/monitor.sh")
    folder.write(".env", KEY)
    assert rules(folder, ".env") == [("KT101", "note")]
    assert not (folder.path / "was-run").exists()


def test_without_git_a_key_is_not_taken_for_private(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder.path))
    folder.write(".env", KEY)
    assert rules(folder) == [("KT101", "error")]


@pytest.mark.parametrize("name", [".env", ".env.production", "proxy.env", "compose.env"])
def test_names_that_a_folder_is_searched_for(name: str, folder: Folder) -> None:
    folder.write(name, KEY, 0o644)
    assert ("KT104", "error") in rules(folder)


def test_a_file_of_another_name_is_known_by_what_is_in_it(folder: Folder) -> None:
    folder.write("settings", f"export PORT=1\n{KEY}", 0o644)
    assert ("KT104", "error") in rules(folder, "settings")
    folder.write("other.txt", "a: 1\nb: 2\n", 0o644)
    assert rules(folder, "other.txt") == []


@pytest.mark.parametrize(
    "said", ["./secrets/proxy.txt", "[secrets/proxy.txt]", "[{path: secrets/proxy.txt, required: false}]"]
)
def test_a_compose_file_leads_to_its_env_files(said: str, folder: Folder) -> None:
    path = "secrets/proxy.txt"
    folder.write(path, KEY, 0o644)
    folder.write("compose.yaml", f"services:\n  x:\n    image: postgres:1\n    env_file: {said}\n")
    found = folder.report("compose.yaml")
    assert {(each.path, each.rule.id) for each in found.findings} == {(path, "KT101"), (path, "KT104")}
    assert found.files == 2


def test_a_variable_of_an_env_file_shadows_one_beside_it(folder: Folder) -> None:
    text = "services:\n  x:\n    env_file: a.txt\n    environment: {GEMINI_API_KEY: '${X}', PORT: '1'}\n"
    folder.write("a.txt", "GOOGLE_API_KEY=$Y\nPORT=2\n")
    assert folder.rules(text, "compose.yaml") == [("KT302", 2)]
    folder.write("a.txt", "GEMINI_API_KEY=$Y\nGOOGLE_API_KEY=\n")  # the one beside it wins over the same name in a file
    assert folder.rules(text, "compose.yaml") == []


def test_an_env_file_that_is_not_there_is_nobodys_fault(folder: Folder) -> None:
    folder.write("compose.yaml", "services:\n  x: {image: 'postgres:1', env_file: [no.env, '$X', '/dev/zero', '.']}\n")
    assert rules(folder, "compose.yaml") == []


def test_quotes_exports_and_comments(folder: Folder) -> None:
    text = "export GEMINI_API_KEY=\"a b\" # x\n  GOOGLE_API_KEY = 'c' \n"
    assert folder.rules(text, "x.env") == [("KT302", 2)]
    assert folder.rules(text.replace("'c'", '"a b"'), "x.env") == []


def test_a_note_does_not_fail_a_run(folder: Folder) -> None:
    folder.write(".env", KEY)
    report = folder.report()
    assert [report.reaches(level) for level in Severity] == [False, False, True]


def test_what_is_no_file_is_not_opened(folder: Folder) -> None:
    os.mkfifo(folder.path / "pipe.yaml")  # would wait for ever
    (folder.path / "gone.yaml").symlink_to("nowhere")
    assert [(each.path, each.rule.id) for each in folder.report().findings] == [
        ("gone.yaml", "KT001"),
        ("pipe.yaml", "KT001"),
    ]
