"""Exceptions: on the line, or on comment lines right above; with a rule and a reason, or none at all."""

from __future__ import annotations

import pytest

from tests.lint.conftest import Folder
from tests.lint.examples import filled

LINE = "a: <openai>"


@pytest.mark.parametrize(
    "text",
    [
        f"{LINE}  # keyturn: ignore KT101 of a test account\n",
        f"# keyturn: ignore KT101 of a test account\n{LINE}\n",
        f"# keyturn: ignore KT102, KT101 of a test account\n{LINE}\n",
        f"# keyturn: ignore KT101 of a test account\n# keyturn: ignore KT102 the same\n{LINE}\n",
        f"#keyturn:ignore kt101 of a test account\n{LINE}\n",
        "a: |\n  <openai>  # keyturn: ignore KT101 of a test account\n",
    ],
)
def test_an_exception_with_a_reason(text: str, folder: Folder) -> None:
    folder.write("x.yaml", filled(text))
    report = folder.report()
    assert (report.findings, report.ignored) == ([], 1)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"{LINE}  # keyturn: ignore\n", [("KT101", 1), ("KT003", 1)]),
        (f"{LINE}  # keyturn: ignore KT101\n", [("KT101", 1), ("KT003", 1)]),
        (f"{LINE}  # keyturn: ignore KT101 --\n", [("KT101", 1), ("KT003", 1)]),
        (f"{LINE}  # keyturn: ignore because I say so\n", [("KT101", 1), ("KT003", 1)]),
        (f"{LINE}  # keyturn: ignore KT101, KT777 for a reason\n", [("KT101", 1), ("KT003", 1)]),
        (f"{LINE}  # keyturn: ignore KT102 for a reason\n", [("KT101", 1)]),
        (f"# keyturn: ignore KT101 for a reason\n\n{LINE}\n", [("KT101", 3)]),
        (f"b: 1  # keyturn: ignore KT101 of this line alone\n{LINE}\n", [("KT101", 2)]),
        ("# keyturn: ignore KT003 for a reason\n# keyturn: ignore\n", [("KT003", 2)]),
    ],
)
def test_what_is_no_exception(text: str, left: list[tuple[str, int]], folder: Folder) -> None:
    assert folder.rules(filled(text)) == left


def test_an_exception_in_an_env_file(folder: Folder) -> None:
    assert folder.rules(filled("# keyturn: ignore KT101 of a test account\nOPENAI_API_KEY=<openai>\n"), ".env") == []
