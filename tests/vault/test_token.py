"""When a token is renewed, and when a new one is got: with a clock that is turned by hand."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from keyturn.errors import DeniedError, KeyturnError, UnavailableError
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.testing.store_scene import refused
from keyturn.vault.permissions import about_static_token
from keyturn.vault.token import Token, TokenKeeper, token_in


class Scene:
    """A server whose tokens live 60 seconds, and what was asked of it."""

    def __init__(self, renewable: bool = True, ttl: float = 60) -> None:
        self.now, self.ttl, self.renewable = 1000.0, ttl, renewable
        self.asked: list[str] = []
        self.renewed: Token | KeyturnError | None = None
        self.failure: KeyturnError | None = None
        self.keeper = TokenKeeper(self.log_in, self.renew, lambda: self.now)

    def token(self, ttl: float) -> Token:
        return Token(KeyMaterial(secrets.token_hex(12)), ttl, self.renewable)

    async def log_in(self) -> Token:
        self.asked.append("login")
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return self.token(self.ttl)

    async def renew(self, token: KeyMaterial) -> Token | None:
        self.asked.append("renew")
        await asyncio.sleep(0)
        if isinstance(self.renewed, KeyturnError):
            raise self.renewed
        return self.renewed and Token(token, self.renewed.ttl, self.renewable)

    async def after(self, seconds: float) -> list[str]:
        """What one caller brings about, so much later."""
        self.now += seconds
        self.asked.clear()
        await self.keeper.get()
        return [*self.asked]


async def test_a_token_is_renewed_once_two_thirds_of_its_life_are_over() -> None:
    scene = Scene()
    assert await scene.after(0) == ["login"]
    scene.renewed = scene.token(60)
    for _ in range(3):
        assert await scene.after(39) == []
        assert await scene.after(1.1) == ["renew"]


async def test_several_callers_at_once_cause_one_login_and_one_renewal() -> None:
    scene = Scene()
    tokens = await asyncio.gather(*(scene.keeper.get() for _ in range(8)))
    scene.now, scene.renewed = scene.now + 41, scene.token(60)
    tokens += await asyncio.gather(*(scene.keeper.get() for _ in range(8)))
    assert scene.asked == ["login", "renew"]
    assert all(token == tokens[0] for token in tokens)


async def test_a_token_at_its_max_ttl_is_replaced_and_one_that_cannot_be_renewed_too() -> None:
    scene = Scene()
    await scene.after(0)
    scene.renewed = scene.token(59)  # capped
    assert await scene.after(41) == ["renew", "login"]
    assert await scene.after(39) == []
    scene.renewed = None  # refused: it was revoked, or its policy does not let it
    assert await scene.after(2) == ["renew", "login"]
    scene = Scene(renewable=False)
    await scene.after(0)
    assert await scene.after(41) == ["login"]


async def test_a_token_whose_time_is_over_is_not_renewed() -> None:
    scene = Scene()
    await scene.after(0)
    scene.renewed = scene.token(60)
    assert await scene.after(60) == ["login"]


@pytest.mark.parametrize("failure", [UnavailableError("down"), DeniedError("the secret id has run out")])
async def test_no_failure_is_anybodys_as_long_as_the_token_lives(failure: KeyturnError) -> None:
    scene = Scene()
    held = await scene.keeper.get()
    scene.renewed = scene.failure = failure
    assert await scene.after(41) == ["renew"]
    assert await scene.keeper.get() == held
    assert await scene.after(8) == []  # it is not asked at each call
    assert await scene.after(3) == ["renew"]
    scene.now += 9
    await refused(scene.keeper.get(), type(failure))
    scene.failure = None
    assert await scene.after(0) == ["login"]


async def test_a_token_that_does_not_end_is_not_looked_after() -> None:
    scene = Scene(ttl=0)
    await scene.after(0)
    assert await scene.after(10**9) == []


async def test_a_refused_token_is_replaced_once() -> None:
    scene = Scene()
    first = await scene.keeper.get()
    second, third = await asyncio.gather(scene.keeper.get(refused=first), scene.keeper.get(refused=first))
    assert second == third != first
    assert scene.asked == ["login", "login"]


@pytest.mark.parametrize("ttl", [None, "60", -1, True, 1.5, 10**400, {}])
def test_a_life_that_is_no_time_is_unreadable(ttl: Any) -> None:
    with pytest.raises(UnreadableError):
        token_in({"auth": {"client_token": "t", "lease_duration": ttl}})


@pytest.mark.parametrize("token", [None, "", 7, " t", "t\n", "\ud800", ["t"]])
def test_a_token_that_is_no_text_is_unreadable(token: Any) -> None:
    with pytest.raises(UnreadableError):
        token_in({"auth": {"client_token": token, "lease_duration": 60}})


GOOD = {"ttl": 86400 * 30, "renewable": False, "num_uses": 0, "orphan": True}


@pytest.mark.parametrize(
    ("told", "ok", "says"),
    [
        (GOOD, True, "30d"),
        ({**GOOD, "ttl": 0}, True, "does not end"),
        ({**GOOD, "orphan": False}, True, "the token that made it"),
        ({**GOOD, "ttl": 300}, False, "5m"),
        ({**GOOD, "ttl": 300, "renewable": True}, False, "5m"),
        ({**GOOD, "ttl": 3600}, None, "cannot be renewed"),
        ({**GOOD, "ttl": 3600, "renewable": True}, True, "unless it is renewed"),
        ({**GOOD, "num_uses": 4}, False, "4 more times"),
        ({}, None, "does not say"),
        ({**GOOD, "ttl": "x"}, None, "does not say"),
        ({**GOOD, "num_uses": "x"}, None, "does not say"),
    ],
)
def test_a_static_token_that_will_not_last_is_told(told: dict[str, Any], ok: bool | None, says: str) -> None:
    finding = about_static_token(told)
    assert finding.ok is ok
    assert says in finding.detail
