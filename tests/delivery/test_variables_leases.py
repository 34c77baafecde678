"""What a proxy with leases is given, and by what: never by something that would leave it with a dead token."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.assembly import Adapters
from keyturn.config import parse
from keyturn.delivery.cache import KeyCache
from keyturn.delivery.caching import CacheOptions, key_cache
from keyturn.delivery.keys import KeyReader
from keyturn.delivery.variables import all_variables, own_secrets, refuse_leases, variables
from keyturn.errors import MisconfiguredError, NotFoundError
from keyturn.references import resolver
from keyturn.stores.memory import MemoryStore
from tests.delivery.supervised import Shelf, new_key
from tests.delivery.token_scene import Mint
from tests.test_config import GOOD
from tests.test_config_leases import LEASES, PROXIES


def given(source: str, proxy: str = "local") -> dict[str, bool]:
    store: Any = MemoryStore()
    found = all_variables(parse(source), proxy, lambda _: store, lambda _: Mint())
    return {variable.name: variable.leased for variable in found}


def test_keys_and_tokens_together_or_one_of_them() -> None:
    assert given(GOOD) == {"OPENAI_API_KEY": False}
    tokens = {"AWS_BEARER_TOKEN_BEDROCK": True, "AZURE_AD_TOKEN": True}
    assert given(GOOD + LEASES) == {"OPENAI_API_KEY": False, **tokens}
    assert given(PROXIES + LEASES) == tokens
    for source in (GOOD, GOOD + LEASES):
        with pytest.raises(MisconfiguredError, match="no proxies of that name"):
            given(source, "nowhere")


def test_what_the_lease_logs_in_with_is_not_handed_on() -> None:
    assert "ENTRA_SECRET" in own_secrets(parse(GOOD + LEASES), "local")


def test_who_gives_keys_once_and_never_again_refuses_leases() -> None:
    refuse_leases(parse(GOOD), "local")
    with pytest.raises(MisconfiguredError, match=r"bedrock, azure of local.*--control"):
        refuse_leases(parse(GOOD + LEASES), "local")


async def test_no_token_gets_into_the_cache(tmp_path: Path) -> None:
    mint, shelf = Mint(), Shelf("openai-prod")
    found = [shelf.variable("openai-prod", "OPENAI_API_KEY"), mint.variable()]
    adapters = Adapters(parse(GOOD + LEASES), resolver(environ={"CACHE": "c" * 40}))
    cache: KeyCache = await key_cache(adapters, "local", found, CacheOptions(tmp_path / "cache", "env:CACHE"))

    async def pause(seconds: float) -> None:
        raise AssertionError("nothing is waited for")

    reader = KeyReader(found, pause, cache)
    keys = await reader.first(timedelta(seconds=5), lambda words: None)
    await reader.expecting("openai-prod", keys["openai-prod"].version.fingerprint, keys)
    assert cache.find("openai-prod").held == keys["openai-prod"]
    with pytest.raises(MisconfiguredError, match="no key of azure"):
        cache.find("azure")
    mint.failure = NotFoundError("gone")
    with pytest.raises(NotFoundError):
        await KeyReader(found, pause, cache).first(timedelta(seconds=5), lambda words: None)
    assert new_key() not in shelf.seen


def test_keys_alone_are_what_they_were() -> None:
    store: Any = MemoryStore()
    assert [each.name for each in variables(parse(GOOD + LEASES), "local", lambda _: store)] == ["OPENAI_API_KEY"]
