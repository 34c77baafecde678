"""A lease on a slot of Prefect's: asked for until it is granted, renewed, given back."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from uuid import UUID

import httpx
import pytest

import flows.asking
import flows.lease
from flows.lease import NoLimitError


class LeaseServer:
    """What flows.lease asks of Prefect. `answers`: to requests for a lease, in order; the last one for ever."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def increment_concurrency_slots_with_lease(self, **_: object) -> httpx.Response:
        self.asked.append("lease")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer.request = httpx.Request("POST", "http://prefect")
        return answer.raise_for_status()

    async def release_concurrency_slots_with_lease(self, lease: UUID) -> None:
        self.asked.append("release")

    async def renew_concurrency_lease(self, lease: UUID, seconds: float) -> None:
        self.asked.append("renew")
        if self.asked.count("renew") == 1:
            raise httpx.ReadTimeout("late")


def lease_of(monkeypatch: pytest.MonkeyPatch, *answers: httpx.Response) -> LeaseServer:
    server = LeaseServer(*answers)
    monkeypatch.setattr(flows.asking, "get_client", lambda: nullcontext(server))
    monkeypatch.setattr(flows.lease, "get_run_logger", lambda: SimpleNamespace(warning=print))
    monkeypatch.setattr(flows.lease, "_AGAIN_SECONDS", 0.0)
    return server


GRANTED = {"lease_id": "00000000-0000-4000-8000-000000000000"}
LIMIT = {"id": "00000000-0000-4000-8000-000000000001", "name": "a", "limit": 1}


async def test_a_slot_is_waited_for_while_it_is_held_and_while_the_database_is_locked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = httpx.Response(423, headers={"Retry-After": "0"})
    server = lease_of(monkeypatch, held, httpx.Response(503), httpx.Response(200, json={**GRANTED, "limits": [LIMIT]}))
    async with flows.lease.leased("a", seconds=60, wait=60):
        assert server.asked == ["lease"] * 3
    assert server.asked[3:] == ["release"]
    lease_of(monkeypatch, held)
    with pytest.raises(TimeoutError):
        async with flows.lease.leased("a", seconds=60, wait=0):
            pytest.fail("it is held by another")


async def test_a_lease_is_renewed_also_after_a_renewal_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    server = lease_of(monkeypatch, httpx.Response(200, json={**GRANTED, "limits": [LIMIT]}))
    async with flows.lease.leased("a", seconds=0, wait=60):
        while server.asked.count("renew") < 3:  # noqa: ASYNC110  # what it does by itself
            await asyncio.sleep(0)


async def test_a_lease_of_no_limit_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lease_of(monkeypatch, httpx.Response(200, json={**GRANTED, "limits": []}))
    with pytest.raises(NoLimitError):
        async with flows.lease.leased("a", seconds=60, wait=60):
            pytest.fail("there is no limit")
