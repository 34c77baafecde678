"""A supervisor closes a connection that was kept, as a question comes: it is asked anew, once. A roll never is."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from keyturn.errors import UnavailableError
from keyturn.fleets.process import ProcessFleet
from keyturn.model import VersionRef
from keyturn.references import resolver
from keyturn.testing.loopback import LoopbackServer, reset_connection

VERSION = VersionRef("one", "0123456789abcdef")


class _Supervisor:
    def __init__(self, resets: int) -> None:
        self.resets, self.asked = resets, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        if self.asked <= self.resets:
            await reset_connection(Request(scope, receive))
            return
        versions = {"openai-prod": {"id": VERSION.id, "fingerprint": VERSION.fingerprint}}
        status = {"state": "serving", "versions": versions, "shadowed": [], "last_error": ""}
        await JSONResponse(status)(scope, receive, send)


def _app(supervisor: _Supervisor) -> LoopbackServer:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await supervisor(scope, receive, send)

    return LoopbackServer(app)


def _fleet(url: str) -> ProcessFleet:
    given = {"members": [{"url": url, "control": url}], "control_token": "env:TOKEN", "master_key": "env:TOKEN"}
    return ProcessFleet(ProcessFleet.Settings.model_validate(given), resolver(environ={"TOKEN": "a-token"}))


@pytest.mark.parametrize(("resets", "found", "asked"), [(1, VERSION, 2), (2, None, 2)])
async def test_a_status_is_asked_for_once_more(resets: int, found: VersionRef | None, asked: int) -> None:
    supervisor = _Supervisor(resets)
    with _app(supervisor) as server:
        fleet = _fleet(server.url)
        (member,) = await fleet.members()
        assert await fleet.serving(member, "openai-prod") == found
        await fleet.aclose()
    assert supervisor.asked == asked


async def test_a_roll_whose_answer_is_lost_is_not_sent_again() -> None:
    supervisor = _Supervisor(1)
    with _app(supervisor) as server:
        fleet = _fleet(server.url)
        (member,) = await fleet.members()
        with pytest.raises(UnavailableError):
            await fleet.roll(member, "openai-prod", VERSION)
        await fleet.aclose()
    assert supervisor.asked == 1
