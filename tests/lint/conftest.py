"""What a test puts into a folder, and what the linter says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.lint.finding import Finding
from keyturn.lint.run import Report, lint
from keyturn.lint.written import Written


class Folder:
    """A folder of its own; files in it are as private as a .env should be."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str | bytes, mode: int = 0o600) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return path

    def report(self, *names: str, written: Written | None = None) -> Report:
        paths = [self.path / name for name in names] or [self.path]
        return lint(paths, written, self.path)

    def said(self, text: str | bytes, name: str = "x.yaml", written: Written | None = None) -> list[Finding]:
        """What is said of this alone."""
        self.write(name, text)
        return self.report(name, written=written).findings

    def rules(self, text: str | bytes, name: str = "x.yaml", written: Written | None = None) -> list[tuple[str, int]]:
        return [(each.rule.id, each.line) for each in self.said(text, name, written)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)
