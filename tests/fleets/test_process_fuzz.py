"""Whatever answers in a supervisor's place: served is believed only where one says so, and nothing of it is told."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.delivery.states import State
from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, RollFailedError, UnavailableError
from keyturn.fleets.process import ProcessFleet
from keyturn.fleets.supervisor_answers import STATES
from keyturn.model import Finding, Member, VersionRef
from keyturn.references import resolver
from tests.hostile import Answer, answers, fuzz, quietly, said, tells
from tests.wire import Request, Wire

TOKEN = "control-" + secrets.token_hex(24)
WANTED, OLD = VersionRef("token-1", "0123456789abcdef"), VersionRef("token-0", "fedcba9876543210")
CREDENTIAL = "openai-prod"


def status(state: str = "serving", version: VersionRef = WANTED) -> dict[str, Any]:
    return {
        "state": state,
        "versions": {CREDENTIAL: {"id": version.id, "fingerprint": version.fingerprint}},
        "starts": 1,
        "rolls": 0,
        "pid": 7,
        "shadowed": ["GOOGLE_API_KEY"],
        "last_error": "the program did not become ready",
    }


Call = Callable[[ProcessFleet, Member], Coroutine[Any, Any, Any]]
ROLLS: dict[int, dict[str, Any]] = {
    200: {"state": "serving", "rolled": False},
    202: {"state": "draining"},
    409: {"state": "serving", "error": "the store holds another value", "busy": False},
    404: {"error": "this member does not serve that credential"},
    503: {"state": "serving", "error": "the store does not answer", "busy": False},
    400: {"error": "a fingerprint is 16 hex digits"},
}


class Place:
    """A fleet of one member, and what answers in the place of its supervisor and its proxy."""

    def __init__(self, wire: Wire, runner: asyncio.Runner) -> None:
        self.wire, self._runner = wire, runner
        settings = {
            "members": [{"url": wire.url, "control": wire.url}],
            "control_token": "env:TOKEN",
            "master_key": "env:TOKEN",
            "roll_timeout": "1s",
        }
        made = ProcessFleet.Settings.model_validate(settings).model_copy(update={"poll_interval": timedelta(seconds=0.001)})
        self.fleet = ProcessFleet(made, resolver(environ={"TOKEN": TOKEN}))
        (self.member,) = self.fleet._members

    def get(
        self, call: Callable[[ProcessFleet, Member], Coroutine[Any, Any, Any]], answer: Callable[[Request], Answer]
    ) -> Any:
        """What the call gives, or its error."""
        given: list[Answer] = []

        def answered(request: Request) -> bytes:
            given.append(answer(request))
            return given[-1].raw

        self.wire.answer = answered
        found = quietly(lambda: self._runner.run(call(self.fleet, self.member)), TOKEN)
        keys = {each.key for each in given if each.key}
        told = f"{found} {found!r}"
        assert not any(tells(told, key) for key in keys)
        return found


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with asyncio.Runner() as runner, Wire(lambda request: b"") as wire:
        yield Place(wire, runner)


def test_the_states_are_the_supervisors() -> None:
    assert set(STATES) == set(State)


@fuzz(60)
@given(answers(status()))
def test_what_a_member_serves_is_known_or_not(place: Place, answer: Answer) -> None:
    found = place.get(lambda fleet, member: fleet.serving(member, CREDENTIAL), lambda _: answer)
    assert found is None or isinstance(found, VersionRef)
    if found is not None:
        assert answer.status == 200 and found.fingerprint.isalnum() and len(found.fingerprint) == 16
        if answer.document is not None:
            assert answer.document["state"] == "serving"


@fuzz(60)
@given(st.sampled_from(sorted(ROLLS)), st.data(), st.booleans())
def test_a_roll_is_done_where_a_supervisor_says_so(place: Place, code: int, data: st.DataObject, serves: bool) -> None:
    answer = data.draw(answers(ROLLS[code], code))
    at_rest = said(status(version=WANTED if serves else OLD))

    def answered(request: Request) -> Answer:
        return answer if request.method == "POST" else at_rest

    found = place.get(lambda fleet, member: fleet.roll(member, CREDENTIAL, WANTED), answered)
    if found is None:
        assert answer.status in (200, 202)
        assert answer.status == 200 or serves
        assert answer.document is None or answer.document.get("rolled") is False or answer.document["state"] in STATES
    else:
        assert isinstance(found, DeniedError | MisconfiguredError | RollFailedError | UnavailableError)


@fuzz(40)
@given(answers(status()))
def test_a_roll_under_way_ends_as_the_status_says(place: Place, answer: Answer) -> None:
    def answered(request: Request) -> Answer:
        return said(ROLLS[202], 202) if request.method == "POST" else answer

    found = place.get(lambda fleet, member: fleet.roll(member, CREDENTIAL, WANTED), answered)
    if found is None and answer.document is not None:
        assert answer.document["versions"][CREDENTIAL]["fingerprint"] == WANTED.fingerprint
        assert answer.document["state"] == "serving"


@fuzz(40)
@given(answers(status()), answers({"status": "healthy"}))
def test_findings_tell_nothing_of_it(place: Place, answer: Answer, ready: Answer) -> None:
    def answered(request: Request) -> Answer:
        return ready if request.target.startswith("/health/") else answer

    found = place.get(lambda fleet, member: fleet.preflight(CREDENTIAL), answered)
    if not isinstance(found, KeyturnError):
        assert all(isinstance(finding, Finding) and isinstance(finding.ok, bool | None) for finding in found)
        proxy = [finding.ok for finding in found if finding.what.endswith("proxy")]
        assert ready.garbage is not None or proxy in ([], [ready.status == 200])
