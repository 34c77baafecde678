"""OpenRouter: the suite, its SDK at the simulator, and its API description."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from keyturn.material import KeyMaterial
from keyturn.model import LoginLife
from keyturn.providers.openrouter import OpenRouter
from keyturn.testing.provider_scene import ADMIN, Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite
from keyturn.testing.vendors.openrouter import OpenRouterSimulator
from tests.providers.description import Description
from tests.providers.sdk import drive


class TestOpenRouter(ProviderSuite):
    PROVIDER, SIMULATOR = OpenRouter, OpenRouterSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {"management_key": "env:KEYTURN_SUITE_ADMIN", "base_url": f"{url}/api/v1"}

    @pytest.mark.real
    async def test_the_vendors_sdk_does_a_life_of_a_key(self, scene: Scene) -> None:
        told = await drive(scene, "openrouter")
        (key,) = scene.vendor.keys.values()
        assert (told["id"], KeyMaterial(told["text"]).fingerprint()) == (key.id, key.fingerprint)
        assert (told["listed"], told["disabled"], told["deleted"], told["after"]) == (["from the SDK"], True, True, [])
        assert told["management"] == [True, False]
        assert (told["current"], key.deletions) == (key.hint, 1)

    async def test_the_end_of_the_login_is_told(self, scene: Scene) -> None:
        end = scene.clock.moment() + timedelta(days=9)
        for until in (None, end):
            ends = until.timestamp() if until else None
            scene.vendor.add_key("by hand", text=scene.environ[ADMIN], expires_at=ends, at_once=True)
            assert await scene.provider.login_life() == LoginLife(None, until)

    async def test_requests_and_answers_fit_the_description(self, scene: Scene) -> None:
        api = Description("openrouter-keys.yaml", strip="/api/v1", newer={"GET /keys": ["include_expired"]})
        async with api.watching(scene):
            await scene.provider.preflight()
            created = await scene.provider.create(new_label(), timedelta(days=1))
            await scene.provider.list()
            await scene.provider.disable(created.ref)
            await scene.provider.enable(created.ref)
            await scene.provider.check(created.material)
            await scene.provider.revoke(created.ref)
        assert api.seen == {"POST /keys", "GET /keys", "PATCH /keys/{hash}", "GET /key", "DELETE /keys/{hash}"}
