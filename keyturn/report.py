"""A rotation as a page: the table of its steps and the timeline, for Prefect's artifact."""

from __future__ import annotations

from collections.abc import Sequence
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


def _table(timeline: Sequence[Line]) -> list[str]:
    rows = ["| step | began | last word |", "|---|---|---|"]
    for step in dict.fromkeys(line.step for line in timeline):
        lines = [line for line in timeline if line.step == step]
        rows.append(f"| {step} | {_clock(lines[0].at)} | {_cell(lines[-1].sentence)} |")
    return rows


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
