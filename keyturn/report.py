"""A rotation as a page: the table of its steps and the timeline, for Prefect's artifact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from keyturn.assembly import Line
from keyturn.errors import KeyturnError


def markdown(credential: str, timeline: Sequence[Line], failure: KeyturnError | None = None) -> str:
    """The page. References and words of ours only; the same text may be shown to anybody who may see the run."""
    parts = [f"# {credential}", "", *_table(timeline), "", "## Timeline", ""]
    parts += [f"- {line.at:%H:%M:%S} **{line.step}** {_cell(line.sentence)}" for line in timeline]
    if failure is not None:
        parts += ["", "## Stopped", "", _cell(failure.message)]
        parts += ["", f"**What to do:** {_cell(failure.remedy)}"] if failure.remedy else []
    return "\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown, a line each."""
    cells = (" | ".join(_cell(cell) for cell in row) for row in rows)
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {row} |" for row in cells)]


def _table(timeline: Sequence[Line]) -> list[str]:
    steps: dict[str, list[Line]] = {}
    for line in timeline:
        steps.setdefault(line.step, []).append(line)
    rows = ((step, _clock(lines[0].at), lines[-1].sentence) for step, lines in steps.items())
    return table(("step", "began", "last word"), rows)


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
