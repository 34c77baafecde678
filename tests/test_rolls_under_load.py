"""The load of `bench.rolls`: what counts as a failed request, and what is asked."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench import rolls
from bench.under_load import credentials, docker, ecs, kubernetes, restarted, scenario
from bench.under_load.fleet import Asked, Way
from bench.under_load.load import Answered, Load
from bench.under_load.scenario import Seen, check
from keyturn.testing.litellm import PROGRAM_VARIABLE, executable

OLD, NEW = "0123456789abcdef", "fedcba9876543210"
WHOLE = {"choices": [{"message": {"content": f"served-by {OLD}"}, "finish_reason": "stop"}]}


def stream(*contents: str, finish: bool = True, done: bool = True) -> str:
    deltas: list[Any] = [{"choices": [{"delta": {"content": content}, "finish_reason": None}]} for content in contents]
    deltas += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}] if finish else []
    return "".join(f"data: {json.dumps(each)}\n\n" for each in deltas) + ("data: [DONE]\n\n" if done else "")


PARTS = (f"served-by {OLD}", " 1", " 2", " 3", " 4")


def asked(answer: Callable[[httpx.Request], httpx.Response], streamed: bool) -> Answered:
    """What is noted of the first stream, or of the first answer that is none."""

    async def run() -> list[Answered]:
        load = Load("http://balancer", "key", 1000, transport=httpx.MockTransport(answer))
        async with load.running():
            await load.until(2)
        return load.answered

    return next(each for each in asyncio.run(run()) if each.asked.streamed is streamed)


@pytest.mark.parametrize(
    ("streamed", "status", "body", "failure"),
    [
        (False, 200, json.dumps(WHOLE), ""),
        (False, 200, json.dumps(WHOLE)[:-4], "not an answer of a model"),
        (False, 200, json.dumps(WHOLE).replace("stop", "length"), "cut short"),
        (False, 200, json.dumps(WHOLE).replace("served-by", "hello"), "another content"),
        (False, 502, json.dumps(WHOLE), "status 502"),
        (True, 200, stream(*PARTS), ""),
        (True, 200, stream(*PARTS, done=False), "cut short"),
        (True, 200, stream(*PARTS, finish=False), "cut short"),
        (True, 200, stream(*PARTS[:-1]), "another content"),
        (True, 200, stream(*PARTS)[:-30], "not an answer of a model"),
        (True, 200, "", "cut short"),
        (True, 429, stream(*PARTS), "status 429"),
    ],
)
def test_an_answer_is_good_only_when_it_is_whole_and_what_was_asked_for(
    streamed: bool, status: int, body: str, failure: str
) -> None:
    seen = asked(lambda _: httpx.Response(status, text=body), streamed)
    assert seen.failure == failure
    assert seen.key == ("" if failure else OLD)


def test_a_broken_connection_is_a_failed_request_and_is_not_tried_again() -> None:
    tried: list[str] = []

    def broken(request: httpx.Request) -> httpx.Response:
        tried.append(json.loads(request.content)["messages"][0]["content"])
        raise httpx.ConnectError("refused", request=request)

    assert asked(broken, False).failure == "ConnectError"
    assert len(tried) == len(set(tried))


def test_a_quarter_is_streamed_and_a_tenth_takes_long_streams_among_them() -> None:
    requests = [Asked(number) for number in range(200)]
    assert sum(each.streamed for each in requests) == 50
    assert [each.streamed for each in requests if each.long] == [True, False] * 10


def answered(begun: float, key: str, failure: str = "") -> Answered:
    return Answered(Asked(1), begun, 0.1, key, failure)


def test_what_did_not_come_to_the_new_key_is_no_roll() -> None:
    good = Seen((answered(0, OLD), answered(5, OLD), answered(5, NEW), answered(9, NEW)), (1, 8), NEW)
    check(good)
    for bad in (answered(9, OLD), answered(0, NEW)):
        with pytest.raises(RuntimeError):
            check(Seen((*good.answered, bad), good.roll, NEW))


def test_a_kinds_figures_are_summed_over_its_numbers_of_members() -> None:
    lost = Seen((answered(0, OLD), answered(2, "", "status 502"), answered(9, NEW)), (1, 8), NEW).told()
    kept = Seen((answered(0, OLD), answered(2, OLD), answered(9, NEW)), (1, 8), NEW).told()
    ways = {str(Way.KEYTURN): kept, str(Way.BLIND): lost, str(Way.UNDRAINED): lost}
    details = dict.fromkeys(("2", "4"), ways)
    figures = rolls.summed(details)
    assert figures == {"requests": 6, "failed": 0, "blind_failed": 2, "undrained_failed": 2}
    shown = rolls.page({"rolls": {"process": figures}, "rolls_details": {"process": details}})
    assert "| process | 4 | blind | 3 | 1 | 1 | 1 status 502 |" in shown
    assert rolls.page({}) == ""


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins that are ready at once, in the place of LiteLLM, and short waits. With a table it is LiteLLM even so."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {executable().parent}/python "$@"\n')
    python.chmod(0o700)
    program = tmp_path / "litellm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m keyturn.testing.stand_in "$@"\n')
    program.chmod(0o700)
    monkeypatch.setenv(PROGRAM_VARIABLE, str(program))
    monkeypatch.setattr(kubernetes, "_DRAIN", {"preStop": {"sleep": {"seconds": 4}}})
    monkeypatch.setattr(restarted, "_DRAIN", "2s")
    monkeypatch.setattr(credentials, "READ_SECONDS", 1.0)
    monkeypatch.setattr(credentials, "SETTLE", "5s")
    monkeypatch.setattr(ecs, "SPEED", 4.0)
    monkeypatch.setattr(ecs, "DELAY", 4.0)
    monkeypatch.setattr(ecs, "HEALTH", replace(ecs.HEALTH, interval=0.5))
    monkeypatch.setattr(scenario, "LEAD", 1.0)
    monkeypatch.setattr(scenario, "TAIL", 1.0)
    monkeypatch.setattr(scenario, "WARM_PER_SECOND", 10.0)


@pytest.mark.real
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("kind", "way"), [*((kind, Way.KEYTURN) for kind in rolls.KINDS), ("process", Way.BLIND), ("kubernetes", Way.UNDRAINED)]
)
def test_every_kind_comes_to_the_new_key_and_loses_nothing_by_keyturn(kind: str, way: Way, tmp_path: Path) -> None:
    seen = scenario.run(rolls.KINDS[kind], tmp_path / "fleet", way, 2, 20, 4)
    if way is Way.KEYTURN:
        assert seen.told()["failures"] == {}


@pytest.mark.real
@pytest.mark.usefixtures("quick")
def test_containers_that_are_made_anew_lose_nothing_either(tmp_path: Path) -> None:
    seen = scenario.run(partial(docker.Containers, roll="recreate"), tmp_path / "fleet", Way.KEYTURN, 2, 20, 4)
    assert seen.told()["failures"] == {}
