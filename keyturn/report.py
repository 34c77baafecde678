"""A rotation as a page: the table of its steps and the timeline, for Prefect's artifact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from keyturn.assembly import Line
from keyturn.errors import KeyturnError
from keyturn.evidence import Evidence


def markdown(
    credential: str, timeline: Sequence[Line], failure: KeyturnError | None = None, evidence: Sequence[Evidence] = ()
) -> str:
    """The page. References and words of ours only; the same text may be shown to anybody who may see the run."""
    parts = [f"# {credential}", "", *_table(timeline), "", *_evidence(evidence), "## Timeline", ""]
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


def _evidence(found: Sequence[Evidence]) -> list[str]:
    """Who was asked, when, what it answered and by which rule that counts; and the provider's word on each old key."""
    if not found:
        return []
    members = dict.fromkeys(each for evidence in found for each in evidence.members)
    asked = ((each.name, _clock(each.at), each.rule, "yes" if each.counts else "no", each.reason) for each in members)
    keys = (
        (
            each.key or "(no old key)",
            _clock(each.rolled_at) if each.rolled_at else "-",
            _clock(each.last_used_at) if each.last_used_at else "-",
            "; ".join(each.refusals) or "nothing",
            "; ".join(each.missing) or "nothing",
        )
        for each in found
    )
    return [
        *("## Evidence", "", *table(("member", "asked", "rule", "counts", "answer"), asked), ""),
        *table(("old key", "rolled", "last used, by the provider", "speaks against", "missing"), keys),
        "",
    ]


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
