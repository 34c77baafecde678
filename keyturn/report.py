"""A rotation as a page, for Prefect's artifact: what it came to and what is next; its steps, the evidence, the timeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keyturn.assembly import Ending, Line
from keyturn.errors import IndeterminateError, KeyturnError, RetryableError
from keyturn.evidence import Evidence

BEFORE_THE_PIVOT = ("preflight", "create", "write", "validate")
TOUCHES_WHAT_IS_SERVED = frozenset({"promote", "roll", "rollback", "revoke", "revoke_first"})


@dataclass(frozen=True, slots=True)
class Ran:
    """What is told of one run. References and words of ours only: Prefect keeps it, and shows it to whoever may see the run.

    `facts`: what it was asked for, and of what, by name. `ending`: None where it did not come to its end.
    `turned_in_place`: its provider gives a key a new text, which may end the old one before the pivot.
    """

    credential: str
    begun: datetime
    ended: datetime
    timeline: Sequence[Line]
    ending: Ending | None = None
    failure: KeyturnError | None = None
    evidence: Sequence[Evidence] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    turned_in_place: bool = False


def markdown(ran: Ran) -> str:
    """The page, what is decided by first."""
    parts = [f"# {ran.credential}", "", *_outcome(ran), *_facts(ran), "## Steps", "", *_steps(ran), ""]
    return "\n".join([*parts, *_evidence(ran.evidence), "## Timeline", "", *_timeline(ran)])


def headline(ran: Ran) -> str:
    """What it came to, in a few words."""
    if ran.failure is not None:
        return f"stopped at {ran.failure.step}" if ran.failure.step else "stopped"
    return ran.ending.word if ran.ending is not None else "did not finish"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown, a line each."""
    cells = (" | ".join(_cell(cell) for cell in row) for row in rows)
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {row} |" for row in cells)]


def _outcome(ran: Ran) -> list[str]:
    sentence = ran.failure.message if ran.failure is not None else ran.ending.sentence if ran.ending is not None else ""
    said = [f"**{headline(ran).capitalize()}.** {_cell(sentence)}".rstrip(), ""]
    stands = _stands(ran)
    return [*said, *((stands, "") if stands else ()), f"**Next step:** {_cell(_next(ran))}", ""]


def _next(ran: Ran) -> str:
    if ran.failure is None:
        again = f"run `keyturn rotate {ran.credential}` again, or wait for the sweep: it goes on from where this one ended"
        return ran.ending.next if ran.ending is not None else again
    if ran.failure.remedy:
        return ran.failure.remedy
    if isinstance(ran.failure, RetryableError | IndeterminateError):
        return "run it again, or wait for the sweep: it looks first at what has happened"
    return "docs/recovery.md tells what to do, by message; `keyturn status` where everything stands"


def _stands(ran: Ran) -> str:
    """Where a run that failed leaves what is served, as far as this run can know."""
    if ran.failure is None:
        return ""
    told = {line.step for line in ran.timeline}
    if ran.failure.step in BEFORE_THE_PIVOT and not told & TOUCHES_WHAT_IS_SERVED and not ran.turned_in_place:
        return "Nothing that is in service was changed by this run."
    if "promote" in told and "rollback" not in told:
        return "The new key is the current one in the store: the next run goes on forward."
    return ""


def _facts(ran: Ran) -> list[str]:
    proved = {each.name: each.counts for evidence in ran.evidence for each in evidence.members}
    members = {"members proved": f"{sum(proved.values())} of {len(proved)}"} if proved else {}
    took = {"took": _seconds(ran.ended - ran.begun)}
    return [*table(("rotation", ran.credential), (ran.facts | members | took).items()), ""] if ran.facts else []  # type: ignore[operator]


def _steps(ran: Ran) -> list[str]:
    """A row for each step: since when, how long, its last word. What happens before a word belongs to its step."""
    began: dict[str, datetime] = {}
    took: dict[str, timedelta] = {}
    word: dict[str, str] = {}
    before = ran.begun
    for line in ran.timeline:
        began.setdefault(line.step, before)
        took[line.step] = took.get(line.step, timedelta(0)) + (line.at - before)
        word[line.step], before = line.sentence, line.at
    stopped = ran.failure.step if ran.failure is not None else ""
    if ran.failure is not None and stopped:
        if stopped not in began:  # it failed before it said anything
            began[stopped], took[stopped] = before, ran.ended - before
        word[stopped] = f"**stopped:** {ran.failure.message}"
    rows = ((step, _clock(began[step]), _seconds(took[step]), word[step]) for step in began)
    return table(("step", "began", "took", "last word"), rows)


def _timeline(ran: Ran) -> list[str]:
    befores = (ran.begun, *(line.at for line in ran.timeline))
    rows = (
        (f"{line.at:%H:%M:%S}", f"+{_seconds(line.at - before)}", line.step, line.sentence)
        for line, before in zip(ran.timeline, befores, strict=False)
    )
    return table(("at", "after", "step", "what happened"), rows)


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


def _seconds(took: timedelta) -> str:
    seconds = max(0.0, took.total_seconds())
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
