"""Slots that several machines make at once."""

from __future__ import annotations

import pytest
from prefect.exceptions import ObjectAlreadyExists

from tests.flows.conftest import Source


class Overtaken:
    """Prefect's client where another one makes the limit between its look and its call."""

    async def __aenter__(self) -> Overtaken:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def upsert_global_concurrency_limit_by_name(self, *_: object, **__: object) -> None:
        raise ObjectAlreadyExists(RuntimeError())


async def test_a_slot_that_another_machine_has_made_meanwhile_is_there(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    turnstile = source.load("flows.turnstile")
    monkeypatch.setattr(source.load("flows.asking"), "get_client", Overtaken)
    await turnstile.made("keyturn.openai-prod", freed=False)
