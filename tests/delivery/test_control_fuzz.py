"""Whatever is sent to a supervisor's control address is answered, and answered in JSON."""

from __future__ import annotations

import asyncio
import json
import secrets

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.delivery.control import control_app
from keyturn.delivery.states import Admission
from keyturn.material import KeyMaterial
from tests.hostile import Changed, changed, fuzz, logged

TOKEN = KeyMaterial("control-" + secrets.token_hex(16))
GOOD = {"credential": "openai-prod", "fingerprint": "0123456789abcdef"}


class Quiet:
    """A supervisor that serves, and has nothing to do."""

    credentials = ("openai-prod",)
    state = "serving"

    async def roll(self, credential: str, fingerprint: str) -> Admission:
        assert (credential, fingerprint) == tuple(GOOD.values()), "let through unchecked"
        return Admission.SERVED


def asked(body: bytes, authorization: bytes = b"Bearer " + TOKEN.reveal().encode()) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(control_app(Quiet(), TOKEN))  # type: ignore[arg-type]  # as much of one as is asked
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.post("/v1/roll", content=body, headers={b"Authorization": authorization})

    return asyncio.run(ask())


BODIES = [
    b"",
    b"null",
    b"[]",
    b"[" * 100_000,
    b'{"x":' * 100_000,
    b"\xff",
    b'{"credential": "x", "credential": "openai-prod"}',
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
def test_a_body_that_is_no_question_is_refused(body: bytes) -> None:
    """A body that was nested without end ended in a traceback."""
    assert asked(body).status_code == 400


@fuzz(40)
@given(changed(GOOD, most=2) | st.just(Changed(GOOD, "")))
def test_a_question_is_taken_whole_or_refused(wrong: Changed) -> None:
    try:
        body = json.dumps(wrong.document).encode()
    except ValueError:  # a number of more digits than Python writes
        return
    with logged() as lines:
        answer = asked(body)
    assert answer.status_code in (200, 400, 404)
    assert not wrong.key or wrong.key not in "\n".join([answer.text, *lines])


AUTHORIZATIONS = [b"", b"Bearer", b"Bearer ", b"Bearer \xff\xfe", b"Basic eDp5", b"x" * 5000]


@pytest.mark.parametrize("authorization", AUTHORIZATIONS, ids=lambda value: repr(value[:20]))
def test_a_login_that_is_none_is_refused(authorization: bytes) -> None:
    assert asked(json.dumps(GOOD).encode(), authorization).status_code == 401
    assert asked(json.dumps(GOOD).encode()).status_code == 200
