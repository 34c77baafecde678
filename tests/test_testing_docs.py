"""docs/testing.md lists every story and every seeded bug, each with the tests that there are."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.seeded.bugs import SLIPS, STORIES
from tests.test_house import ROOT

STORY_COUNT = 17  # twelve, and five more that are told in a line
PAGE = (ROOT / "docs" / "testing.md").read_text()


def told() -> Mapping[str, set[str]]:
    """The stories, with their tests, as the tests' own marks have it."""
    found = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, test in _marks(path):
            found[name].add(f"`{test}` in [{path.name}](../{path.relative_to(ROOT)})")
    return found


def _marks(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        for mark in getattr(node, "decorator_list", ()):
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.story":
                yield ast.literal_eval(mark.args[0]), node.name  # type: ignore[attr-defined]  # what has decorators has a name


def rows(section: str) -> dict[str, list[str]]:
    lines = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return {row[0]: row[1:] for row in cells[1:]}


def test_every_story_is_listed_with_its_tests() -> None:
    listed = {name: set(tests.split("; ")) for name, (_, tests) in rows("Stories").items()}
    assert listed == told()
    assert len(listed) == STORY_COUNT


def test_every_seeded_bug_is_listed_with_the_test_that_catches_it() -> None:
    listed = {name: f"tests/{test.strip('`')}" for name, (test,) in rows("Seeded bugs").items()}
    assert listed == {bug.name: bug.caught_by for bug in (*STORIES, *SLIPS)}
