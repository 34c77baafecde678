"""The floor that latencies are divided by, on small traces whose longest chain is plain to see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.latency.floor import CANDIDATE, CONTROL, Call, floor, of
from bench.latency.outside import credential_of
from bench.rotation_latency import figures

ONE = frozenset({"one"})


def act(begin: float, seconds: float, what: str = "act", place: str = "store") -> Call:
    return Call(place, what, begin, begin + seconds, acts=True, concerns=ONE)


def look(begin: float, seconds: float, what: str = "look", place: str = "store") -> Call:
    return Call(place, what, begin, begin + seconds, concerns=ONE)


def test_acts_add_up_in_their_order_and_the_time_between_them_does_not_count() -> None:
    assert floor([act(0, 0.3), act(2, 0.05), act(9, 5)]) == pytest.approx(5.35)


def test_looks_between_two_acts_count_as_the_longest_of_them_whether_or_not_they_were_made_side_by_side() -> None:
    one_by_one = [act(0, 1), look(1, 0.25), look(2, 0.5), look(3, 0.25), act(4, 1)]
    at_once = [act(0, 1), look(1, 0.25), look(1, 0.5), look(1, 0.25), act(4, 1)]
    assert floor(one_by_one) == floor(at_once) == pytest.approx(2.5)


def test_acts_that_were_made_side_by_side_count_as_the_longest_of_them() -> None:
    assert floor([act(0, 5, place="one"), act(0.5, 4, place="two"), look(6, 0.5)]) == pytest.approx(5.5)


def test_a_candidate_waits_for_the_garbage_key_at_the_same_proxy_alone() -> None:
    control, candidate = look(0, 0.5, CONTROL, "one"), look(1, 0.5, CANDIDATE, "one")
    assert floor([control, candidate]) == pytest.approx(1)
    assert floor([control, replace(candidate, place="two")]) == pytest.approx(0.5)
    assert floor([replace(control, what="canary"), candidate]) == pytest.approx(0.5)


def test_what_concerns_another_credential_or_ended_later_is_no_part_of_it() -> None:
    calls = [
        act(0, 1),
        replace(act(1, 1), concerns=frozenset({"two"})),
        replace(look(1, 9), concerns=frozenset()),
        act(3, 1),
    ]
    assert of(calls, "one", until=4) == [calls[0], calls[3]]
    assert of(calls, "one", until=3.5) == [calls[0]]
    assert of([calls[0], replace(calls[0], concerns=frozenset())], "one", until=4, alone=True) == [
        calls[0],
        replace(calls[0], concerns=frozenset()),
    ]


def test_a_pause_of_keyturns_own_makes_the_ratio_larger() -> None:
    """Wherever it is made: the calls after it come later, and the floor stays."""
    calls = [look(0, 0.5), act(0.5, 0.25), look(0.75, 0.5), act(1.25, 5), look(6.25, 0.5), act(6.75, 0.25)]

    def ratio(trace: list[Call]) -> float:
        return figures(trace[-1].end, floor(trace))["ratio"]

    assert ratio(calls) == 1
    for number in range(len(calls)):
        late = [replace(call, begin=call.begin + 2, end=call.end + 2) for call in calls[number:]]
        slower = [*calls[:number], *late]
        assert floor(slower) == pytest.approx(floor(calls))
        assert ratio(slower) == pytest.approx(9 / 7, abs=1e-3)


def test_looks_that_are_made_one_by_one_make_the_ratio_larger() -> None:
    side_by_side = [look(0, 0.5), look(0, 0.5), act(0.5, 1)]
    one_by_one = [look(0, 0.5), look(0.5, 0.5), act(1, 1)]
    assert [figures(trace[-1].end, floor(trace))["ratio"] for trace in (side_by_side, one_by_one)] == [1, 1.333]


def test_a_key_is_known_by_its_name() -> None:
    assert credential_of("keyturn-openai-01-f4cc23-2577e84ad5b1") == "openai-01"
    assert credential_of("openai-01 by hand") == "openai-01"
    assert credential_of("somebody's own") == ""
