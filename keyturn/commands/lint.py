"""keyturn lint: what is wired by hand around LiteLLM, checked before it is deployed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from keyturn.commands.exits import Exit, console, leave, print_data, reported
from keyturn.config import PATH_VARIABLE, config_path
from keyturn.errors import MisconfiguredError
from keyturn.lint.finding import Finding, Severity
from keyturn.lint.run import Report
from keyturn.lint.run import lint as look
from keyturn.lint.sarif import sarif
from keyturn.lint.written import Written, written

_COLOUR = {Severity.error: "red", Severity.warning: "yellow", Severity.note: "blue"}


def lint(paths: Sequence[Path], style: str, fail_on: str) -> None:
    """Look at files and folders. Ends with NOT_WELL when a finding is as bad as `fail_on`, or worse."""
    with reported(style != "human"):
        _all_there(paths)
        report = look(paths, _written())
    if style == "json":
        print_data(_facts(report))
    elif style == "sarif":
        print_data(sarif(report))
    else:
        for line in _lines(report):
            console.print(line)
    leave(Exit.NOT_WELL if report.reaches(Severity(fail_on)) else Exit.DONE)


def _all_there(paths: Sequence[Path]) -> None:
    for number, path in enumerate(paths, 1):
        if not os.path.lexists(path):
            raise MisconfiguredError(
                f"path {number} of {len(paths)} leads to no file or folder",
                remedy="name files, or folders whose YAML and .env files are to be looked at",
            )


def _written() -> Written | None:
    """keyturn.yaml, where there is one: it is needed when it is named, and otherwise welcome."""
    path = config_path()
    return written(path) if os.environ.get(PATH_VARIABLE) or path.is_file() else None


def _lines(report: Report) -> Iterator[str]:
    for each in report.findings:
        where = escape(f"{_printable(each.path)}:{each.line}:{each.column}:")
        level = f"[{_COLOUR[each.severity]}]{each.severity.value}[/]"
        yield f"[bold]{where}[/] {level} {each.rule.id} {escape(each.message)}"
        yield f"    what to do: {escape(each.remedy)}"
    yield _summary(report)


def _summary(report: Report) -> str:
    counts = {level: sum(each.severity is level for each in report.findings) for level in Severity}
    told = ", ".join(f"{count} {level.value}{'' if count == 1 else 's'}" for level, count in counts.items() if count)
    files = "1 file" if report.files == 1 else f"{report.files} files"
    return f"{files}: {told or 'nothing found'}" + (f"; {report.ignored} ignored by a comment" if report.ignored else "")


def _printable(text: str) -> str:
    """A path for a terminal: its control characters could move the cursor."""
    encodable = text.encode(sys.stdout.encoding or "utf-8", errors="replace").decode(sys.stdout.encoding or "utf-8")
    return "".join(each if each.isprintable() else "?" for each in encodable)


def _facts(report: Report) -> dict[str, Any]:
    return {"files": report.files, "ignored": report.ignored, "findings": [_fact(each) for each in report.findings]}


def _fact(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule.id,
        "name": finding.rule.name,
        "severity": finding.severity.value,
        "path": finding.path,
        "line": finding.line,
        "column": finding.column,
        "message": finding.message,
        "remedy": finding.remedy,
        "fingerprint": finding.fingerprint,
    }
