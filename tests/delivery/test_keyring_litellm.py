"""The stored credentials of an embedded LiteLLM turn with the ring."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from keyturn.delivery.keyring_litellm import STALE, LiteLLMCredentials
from keyturn.errors import StaleKeyError, UnavailableError
from tests.delivery.fake_litellm import CredentialItem, FakeLiteLLM
from tests.delivery.ring_scene import NAME, Shop, Time, ring_over


def library(environment: dict[str, str] | None = None) -> Any:
    return FakeLiteLLM(environment or {}, lambda key: "hello")


async def test_the_next_call_after_a_swap_is_made_with_the_new_key() -> None:
    time, shop, litellm = Time(), Shop(), library()
    async with ring_over(time, {NAME: shop}) as ring:
        LiteLLMCredentials(ring).install(litellm)
        litellm.completion(model="m", litellm_credential_name=NAME)
        new, old = shop.turn(), litellm.sent[0]
        await time.advance(60)
        litellm.completion(model="m", litellm_credential_name=NAME)
        assert litellm.sent == [old, new.material.reveal()]


async def test_a_credential_has_the_name_it_is_given_and_replaces_one_of_that_name_alone() -> None:
    time, shop, litellm = Time(), Shop(), library()
    litellm.credential_list += [CredentialItem(name, {"api_key": "by hand"}, {}) for name in ("other", "openai-prod")]
    the_list = litellm.credential_list
    async with ring_over(time, {NAME: shop}) as ring:
        LiteLLMCredentials(ring, {NAME: "openai-prod"}).install(litellm)
        assert litellm.credential_list is the_list
        assert [item.credential_name for item in the_list] == ["other", "openai-prod"]
        assert the_list[0].credential_values == {"api_key": "by hand"}
        assert dict(the_list[1].credential_values.items()) == {"api_key": shop.held.material.reveal()}
        assert the_list[1].credential_values.copy() == {"api_key": shop.held.material.reveal()}


async def test_a_stale_key_is_not_sent_and_no_other_in_its_place() -> None:
    environment = {"OPENAI_API_KEY": "of somebody else"}
    time, shop, litellm = Time(), Shop(), library(environment)
    async with ring_over(time, {NAME: shop}) as ring:
        LiteLLMCredentials(ring).install(litellm)
        shop.failure = UnavailableError("down")
        await time.advance(3700)
        for read in (litellm.credential_list[0].credential_values.items, litellm.credential_list[0].credential_values.copy):
            with pytest.raises(StaleKeyError):
                read()
        assert litellm.credential_list[0].credential_values["api_key"] == STALE
        shop.failure = None
        await time.advance(60)
        litellm.completion(model="m", litellm_credential_name=NAME)
        assert litellm.sent == [shop.held.material.reveal()]  # the same as before


async def test_a_stale_key_is_not_sent_when_the_refresher_is_dead_either() -> None:
    time, shop, litellm = Time(), Shop(), library()
    async with ring_over(time, {NAME: shop}) as ring:
        LiteLLMCredentials(ring).install(litellm)
        time.now += 3601
        with pytest.raises(StaleKeyError):
            litellm.completion(model="m", litellm_credential_name=NAME)
        assert litellm.sent == []


async def test_the_environment_turns_along_where_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    environment = {"OPENAI_API_KEY": "old", "GOOGLE_API_KEY": "stale"}
    time, shop, gemini, litellm = Time(), Shop(), Shop(), library(environment)
    litellm.api_key = "pinned"
    async with ring_over(time, {NAME: shop, "GEMINI_API_KEY": gemini}) as ring:
        LiteLLMCredentials(ring, environ=True, environment=environment).install(litellm)
        assert "litellm.api_key is set" in caplog.text
        assert "instead of GEMINI_API_KEY: GOOGLE_API_KEY" in caplog.text
        assert "pinned" not in caplog.text
        new = shop.turn()
        await time.advance(60)
        assert environment[NAME] == new.material.reveal()
        shop.failure = UnavailableError("down")
        await time.advance(3700)
        assert NAME not in environment
        assert environment["GEMINI_API_KEY"] == gemini.held.material.reveal()


async def test_the_environment_is_left_alone_otherwise() -> None:
    environment = {"OPENAI_API_KEY": "old"}
    time, shop, litellm = Time(), Shop(), library(environment)
    async with ring_over(time, {NAME: shop}) as ring:
        LiteLLMCredentials(ring, environment=environment).install(litellm)
        shop.turn()
        await time.advance(60)
    assert environment == {"OPENAI_API_KEY": "old"}


async def test_a_swap_in_the_middle_of_writing_is_not_lost() -> None:
    """The key turns between the moment it is read and the moment it is written: what is written last must be the new one."""
    time, shop, litellm = Time(), Shop(), library()
    async with ring_over(time, {NAME: shop}) as ring:
        credentials = LiteLLMCredentials(ring)
        credentials.install(litellm)
        values = credentials._values[NAME]
        board: Any = ring._board
        turned: list[str] = []

        class Turning(dict[str, str]):
            def update(self, texts: dict[str, str]) -> None:  # type: ignore[override]
                if not turned:
                    new = Shop().held
                    turned.append(new.material.reveal())
                    entry = ring._entries[NAME]
                    newer = type(entry)(new.material, new.version, entry.confirmed, entry.limit)
                    board.confirmed(NAME, newer, False)  # the listener is slower than we are
                values.update(texts)

        credentials._values[NAME] = Turning()  # type: ignore[assignment]
        credentials._changed(NAME, ring.version(NAME))
        assert dict(values.items())["api_key"] == turned[0]


async def test_the_values_show_no_key_and_are_not_pickled() -> None:
    time, shop, litellm = Time(), Shop(), library()
    async with ring_over(time, {NAME: shop}) as ring:
        LiteLLMCredentials(ring).install(litellm)
        values = litellm.credential_list[0].credential_values
        assert shop.held.material.reveal() not in f"{values!r} {values}"
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            pickle.dumps(values)
