"""What the project itself ships is clean, its hook runs, and its page lists every rule."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from keyturn.lint.catalogue import RULES
from keyturn.lint.run import lint
from keyturn.lint.written import written
from tests.lint.conftest import Folder
from tests.lint.examples import filled
from tests.test_house import ROOT

SHIPPED = [ROOT / "docker-compose.yml", ROOT / "deployments", ROOT / ".pre-commit-hooks.yaml"]
PAGE = (ROOT / "docs" / "lint.md").read_text()


@pytest.mark.parametrize("config", ["compose.keyturn.yaml", None])
def test_what_is_shipped_is_clean(config: str | None) -> None:
    report = lint(SHIPPED, written(ROOT / "deployments" / config) if config else None, ROOT)
    assert [(each.path, each.line, each.rule.id, each.message) for each in report.findings] == []
    assert report.files >= 6


def test_the_compose_files_example_of_variables_is_clean(folder: Folder) -> None:
    text = (ROOT / "deployments" / "compose.env.example").read_text()
    assert folder.rules(text, ".env") == []


def test_configurations_that_the_pages_show_are_clean(folder: Folder) -> None:
    shown = [
        block
        for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    ]
    assert any("model_list:" in each for each in shown)
    for number, block in enumerate(shown):
        assert folder.rules(block, f"{number}.yaml") == []


# The hook ---------------------------------------------------------------------------------------------------------------

(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())


@pytest.mark.parametrize("name", ["a.yaml", "deep/b.yml", ".env", "x/.env", ".env.production", "x/proxy.env"])
def test_the_hook_is_asked_about(name: str) -> None:
    assert re.search(HOOK["files"], name)


@pytest.mark.parametrize("name", ["a.py", "environment", "x.env.py/a", "yaml", "x/env"])
def test_the_hook_is_not_asked_about(name: str) -> None:
    assert not re.search(HOOK["files"], name)


def test_the_hook_runs_what_it_says(folder: Folder) -> None:
    program, *words = HOOK["entry"].split()
    assert (HOOK["id"], program, HOOK["language"]) == ("keyturn-lint", "keyturn", "python")
    folder.write("good.yaml", "a: 1\n")
    folder.write("bad.yaml", filled("a: <openai>\n"))
    command = [str(Path(sys.executable).parent / program), *words]
    good = subprocess.run([*command, "good.yaml"], cwd=folder.path, capture_output=True, text=True, check=False)
    both = subprocess.run([*command, "good.yaml", "bad.yaml"], cwd=folder.path, capture_output=True, text=True, check=False)
    assert (good.returncode, both.returncode, both.stderr) == (0, 6, "")
    assert "bad.yaml:1:4: error KT101" in both.stdout


# The page ---------------------------------------------------------------------------------------------------------------


def test_the_page_lists_every_rule_as_it_is() -> None:
    told = [line for line in PAGE.splitlines() if line.startswith("| `KT")]
    there = [
        f"| `{each.id}` | {each.severity.value} | {each.what} | {each.why} | {each.remedy} |".replace("<", "&lt;")
        for each in RULES.values()
    ]
    assert told == there
