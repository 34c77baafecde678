"""By which rules evidence counts, and what a person may do without."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keyturn.evidence import Evidence, MemberEvidence, Rule, Waiver, against
from keyturn.journal import words

NOW = datetime(2026, 3, 2, 3, 0, 0, tzinfo=UTC)


def member(rule: Rule, name: str = "one") -> MemberEvidence:
    return MemberEvidence("local", name, rule, f"it is {rule}", NOW)


ANSWERED = member(Rule.ANSWERED)
USED = Evidence((ANSWERED,), "key_1", NOW, NOW, False, (), ("it was used after the roll",))
# What each waiver lets pass: rules of members, and whether the provider's word on a use is one of them.
PASSES = {
    None: (frozenset(), False),
    Waiver.MEMBERS_GONE: (frozenset({Rule.UNKNOWN, Rule.UNANSWERED}), False),
    Waiver.USE_EXPLAINED: (frozenset(), True),
    Waiver.LEAKED: (frozenset({Rule.UNKNOWN, Rule.UNANSWERED}), True),
}


@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("waiver", PASSES)
def test_only_an_answer_counts_and_only_what_cannot_be_known_is_waived(rule: Rule, waiver: Waiver | None) -> None:
    passes = rule is Rule.ANSWERED or rule in PASSES[waiver][0]
    found = Evidence((ANSWERED, member(rule, "two"))).against(waiver)
    assert found == (() if passes else (f"local/two: it is {rule}",))


@pytest.mark.parametrize("waiver", PASSES)
def test_a_use_after_the_roll_stops_it_unless_it_is_explained(waiver: Waiver | None) -> None:
    assert USED.against(waiver) == (() if PASSES[waiver][1] else ("it was used after the roll",))


@pytest.mark.parametrize("waiver", PASSES)
def test_nobody_asked_is_no_evidence(waiver: Waiver | None) -> None:
    assert bool(Evidence().against(waiver)) is (waiver not in (Waiver.MEMBERS_GONE, Waiver.LEAKED))


def test_what_is_missing_is_told_and_does_not_refuse() -> None:
    assert Evidence((ANSWERED,), missing=("the provider does not report a key's last use",)).complete


def test_of_several_keys_each_sentence_is_told_once() -> None:
    silent = member(Rule.UNKNOWN)
    assert against([Evidence((silent,)), Evidence((silent,), refusals=("used",))]) == ("local/one: it is unknown", "used")


def test_the_note_says_who_counts_what_the_provider_said_and_why_it_was_forced() -> None:
    assert Evidence((ANSWERED, member(Rule.UNKNOWN, "two")), missing=("a", "b")).note() == "members 1/2 missing 2"
    assert USED.note(Waiver.LEAKED) == "members 1/1 in use 2026-03-02T03:00:00Z forced leaked"
    longest = Evidence((ANSWERED,) * 1000, "k", NOW, NOW, False, ("a",) * 9).note(Waiver.USE_EXPLAINED)
    assert words(longest).endswith(longest[-15:]), "it fits beside the secret, to its last word"
