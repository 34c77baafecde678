"""A pool in keyturn.yaml: where it may be, who may reach it, and that its provider is given the store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from keyturn import grants
from keyturn.assembly import Adapters
from keyturn.config import Config, ConfigError, parse
from keyturn.registry import adapter_class, kinds, needs

PAGE = (Path(__file__).parent.parent / "docs" / "pools.md").read_text()
(GOOD,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def good() -> Config:
    return parse(GOOD)


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        (
            "pool: {store: vault, path: litellm/pools/groq",
            "pool: {store: valut, path: litellm/pools/groq",
            "names nothing in stores",
        ),
        ("path: litellm/pools/claude", "path: litellm/prod", "proxies read that"),
        ("size: 4", "size: 0", "greater than or equal to 1"),
        ("vendor: groq", "vendor: grog", "groq"),
    ],
)
def test_a_pool_at_a_wrong_place_is_told(was: str, now: str, says: str) -> None:
    assert was in GOOD
    with pytest.raises(ConfigError) as raised:
        parse(GOOD.replace(was, now))
    assert says in str(raised.value)


def test_whoever_rotates_may_reach_every_place_and_a_proxy_none() -> None:
    turned = {str(secret) for secret in grants.rotator(good(), "vault").turned}
    assert {"vault:litellm/pools/groq#entry_4", "vault:litellm/pools/claude#entry_6"} <= turned
    assert len(turned) == 1 + 4 + 6
    assert [str(secret) for secret in grants.proxy(good(), "vault").read] == ["vault:litellm/prod#ANTHROPIC_API_KEY"]


async def test_a_provider_with_a_pool_is_given_the_store_that_others_use() -> None:
    adapters = Adapters(good())
    provider: Any = adapters.provider("groq")
    assert provider.ledger._store() is adapters.store("vault")
    await adapters.aclose()


def test_only_a_provider_with_a_pool_is_given_stores() -> None:
    """Adapters know ports, and no other adapter."""
    given = {kind for kind in kinds("providers") if "stores" in needs(adapter_class("providers", kind))}
    assert given == {"anthropic", "huggingface", "console_pool"}
