"""Mistral: the suite, the examples of its page, its SDK for what a key is tried with, and the other login."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.errors import DeniedError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, Verdict
from keyturn.providers.mistral import Mistral
from keyturn.references import resolver
from keyturn.testing.provider_scene import ADMIN, Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.mistral import MistralSimulator
from tests.providers.page_example import PageExample
from tests.providers.sdk import drive


class TestMistral(ProviderSuite):
    PROVIDER, SIMULATOR = Mistral, MistralSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {"admin_key": "env:KEYTURN_SUITE_ADMIN", "base_url": f"{url}/api/admin", "api_url": url}

    def another(self, scene: Scene, **more: Any) -> Mistral:
        settings = Mistral.Settings(**{**self.settings(scene.url), **more})
        return Mistral(settings, resolver(environ=scene.environ), scene.clock.moment)

    async def test_answers_have_the_form_of_the_pages_examples(self, scene: Scene) -> None:
        """The SDK has none of these calls, and there is no description of the vendor's."""
        page = PageExample("mistral.json", strip="/api/admin")
        provider = self.another(scene, workspace="a workspace", user="a user")
        async with page.watching(scene):
            created = await provider.create(new_label(), timedelta(days=30))
            await provider.list()
        assert page.seen == page.answers.keys()
        (key,) = scene.vendor.keys.values()
        assert key.more == {"workspace_uuid": "a workspace", "user_id": "a user"}
        assert key.fingerprint == created.material.fingerprint()
        await provider.aclose()

    @pytest.mark.real
    async def test_the_vendors_sdk_lists_models_with_a_key(self, scene: Scene) -> None:
        key = self.by_hand(scene, "somebody's")
        scene.environ[ADMIN] = key.reveal()
        assert await drive(scene, "mistral") == {"known": ["mistral-small-latest"], "unknown": 401}

    async def test_either_login_can_be_chosen_and_a_refusal_names_the_other(self, scene: Scene) -> None:
        for login, other in (("bearer", "x-api-key"), ("x-api-key", "bearer")):
            provider = self.another(scene, login=login)
            scene.vendor.login = other  # type: ignore[attr-defined]
            with pytest.raises(DeniedError) as raised:
                await provider.list()
            assert f"login: {other}" in raised.value.remedy
            scene.vendor.login = login  # type: ignore[attr-defined]
            await provider.revoke((await provider.create(new_label())).ref)
            await provider.aclose()

    async def test_a_life_is_rounded_up_to_a_day_and_never_down(self, scene: Scene) -> None:
        for hour in (0, 1, 23):
            scene.clock.now = datetime(2026, 12, 1, hour, tzinfo=UTC).timestamp()
            created = await scene.provider.create(new_label(), timedelta(days=1))
            assert created.ref.expires_at == datetime(2026, 12, 2 if hour == 0 else 3, tzinfo=UTC)
            assert created.ref.expires_at >= scene.clock.moment() + timedelta(days=1)

    async def test_a_hint_that_is_a_whole_key_is_not_told(self, scene: Scene) -> None:
        """A key of Mistral's has no form that it could be told by."""
        material = self.by_hand(scene, "somebody's")
        (key,) = scene.vendor.keys.values()
        key.hint = material.reveal()
        (found,) = await scene.provider.list()
        assert found.hint == "***"

    @pytest.mark.parametrize("status", [200, 400, 404, 422])
    async def test_whatever_a_delete_is_answered_the_list_decides(self, scene: Scene, status: int) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault("delete_key", "html", status=status))
        with pytest.raises(UnavailableError):
            await scene.provider.revoke(created.ref)
        for _ in range(2):
            await scene.provider.revoke(created.ref)
            scene.vendor.faults.append(fault("delete_key", "html", status=status))

    async def test_a_list_without_an_end_or_that_begins_again_is_an_error(self, scene: Scene) -> None:
        number = iter(range(10**6))

        async def more(_: int) -> list[KeyRef]:
            return [KeyRef(str(next(number)), "")]

        async def again(_: int) -> list[KeyRef]:
            return [KeyRef("the first", "")]

        for page in (more, again):
            scene.provider._from = page
            with pytest.raises(UnavailableError):
                await scene.provider.list()

    async def test_models_of_another_form_are_not_mistrals(self, scene: Scene) -> None:
        material = self.by_hand(scene, "somebody's")

        async def page(_: Any) -> Mapping[str, Any]:
            return {"models": []}

        scene.vendor.list_models = page  # type: ignore[attr-defined]
        scene.server.app = scene.vendor.app()
        assert (await scene.provider.check(material)).verdict is Verdict.INDETERMINATE
        assert (await scene.provider.check(KeyMaterial("nobody's"))).verdict is Verdict.REJECTED
