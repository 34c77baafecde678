"""Vendors with a console alone: the suite of pools, what is known of each, and the client that most of them name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.model import Verdict
from keyturn.providers.console_pool import ConsolePool
from keyturn.providers.console_vendors import VENDORS
from keyturn.references import resolver
from keyturn.stores.memory import MemoryStore
from keyturn.testing.pool_suite import POOL, PoolSuite
from keyturn.testing.provider_scene import ADMIN, Scene
from keyturn.testing.vendors.console_pool import ConsoleSimulator
from tests.providers.sdk import ROOT, drive


class TestConsolePool(PoolSuite):
    PROVIDER, SIMULATOR, ENDS = ConsolePool, ConsoleSimulator, False

    def settings(self, url: str) -> Mapping[str, Any]:
        return {"pool": POOL, "vendor": "groq", "check_url": f"{url}/openai/v1/models"}

    def another(self, **settings: Any) -> ConsolePool:
        store = MemoryStore({POOL["path"]: {}})
        made = ConsolePool.Settings.model_validate({"pool": POOL, **settings})
        return ConsolePool(made, resolver(environ={}), stores=lambda _: store)

    async def test_how_a_dead_key_is_answered_is_a_setting(self, scene: Scene) -> None:
        provider = self.another(vendor="custom", console="https://example.com", check_url=scene.url, refused_as=["403:dead"])
        assert [row.text for row in provider.verdicts.rows if row.dead] == ["403:dead", "403:dead"]
        (material,) = await self.filled(scene)
        assert (await provider.check(material)).verdict is Verdict.INDETERMINATE
        await provider.aclose()

    @pytest.mark.parametrize("name", [name for name in VENDORS if name != "custom"])
    def test_every_vendor_has_a_console_and_says_what_it_is(self, name: str) -> None:
        provider = self.another(vendor=name)
        assert provider.console.startswith("https://")
        assert provider.facts.vendor == VENDORS[name].vendor
        assert provider.facts.variables and provider.facts.models.endswith("/")
        assert provider.capabilities.can_check is bool(VENDORS[name].check)

    def test_one_of_your_own_says_where_its_console_is(self) -> None:
        with pytest.raises(ValidationError, match="console"):
            self.another(vendor="custom")
        assert self.another(vendor="custom", console="https://example.com").console == "https://example.com"

    def test_the_settings_take_every_vendor_of_the_table(self) -> None:
        schema = ConsolePool.Settings.model_json_schema()
        assert set(schema["properties"]["vendor"]["enum"]) == set(VENDORS)

    @pytest.mark.real
    async def test_the_client_of_openai_lists_models_with_a_key(self, scene: Scene) -> None:
        """Most of these vendors name it as one that works with them; it comes with LiteLLM."""
        (material,) = await self.filled(scene)
        scene.environ[ADMIN] = material.reveal()
        told = await drive(scene, "console_pool", python=ROOT / ".proxy" / "bin" / "python")
        assert told == {"known": ["a-model"], "unknown": 401}
