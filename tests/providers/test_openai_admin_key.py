"""OpenAI's admin keys: the suite, its API description, and what a key has to heed that rotates itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from keyturn.errors import ConflictError, DeniedError, MisconfiguredError
from keyturn.model import KeyRef, LoginLife, Verdict
from keyturn.providers.openai_admin_key import OpenAIAdminKey
from keyturn.testing.openai_keys import openai_key
from keyturn.testing.provider_scene import ADMIN, Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.openai_admin_key import OpenAIAdminKeySimulator
from tests.providers.description import Description


class TestOpenAIAdminKey(ProviderSuite):
    PROVIDER, SIMULATOR = OpenAIAdminKey, OpenAIAdminKeySimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {"admin_key": f"env:{ADMIN}", "base_url": f"{url}/v1"}

    def admin(self) -> str:
        return openai_key("admin").reveal()

    async def itself(self, scene: Scene) -> KeyRef:
        """From now on keyturn logs in with a key that the vendor lists, as it is in the world."""
        assert isinstance(scene.vendor, OpenAIAdminKeySimulator)
        scene.vendor.administers = True
        created = await scene.provider.create(new_label())
        scene.environ[ADMIN] = created.material.reveal()
        ref: KeyRef = created.ref
        return ref

    async def test_requests_and_answers_fit_the_description(self, scene: Scene) -> None:
        api = Description("openai-admin.yaml", strip="/v1")
        async with api.watching(scene):
            created = await scene.provider.create(new_label(), timedelta(days=1))
            await scene.provider.list()
            await scene.provider.last_used(created.ref)
            await scene.provider.revoke(created.ref)
        path = "/organization/admin_api_keys"
        assert api.seen == {f"POST {path}", f"GET {path}", f"DELETE {path}/{{key_id}}"}

    async def test_a_key_makes_its_successor_and_goes_by_the_successors_hand(self, scene: Scene) -> None:
        old = await self.itself(scene)
        created = await scene.provider.create(new_label())
        assert (await scene.provider.check(created.material)).verdict is Verdict.ACCEPTED
        scene.environ[ADMIN] = created.material.reveal()
        await scene.provider.revoke(old)
        assert [key.id for key in await scene.provider.list()] == [created.ref.id]

    async def test_the_key_that_is_logged_in_with_is_never_deleted(self, scene: Scene) -> None:
        own = await self.itself(scene)
        other = await scene.provider.create(new_label())
        for ref in (own, KeyRef(own.id, "")):
            with pytest.raises(ConflictError) as raised:
                await scene.provider.revoke(ref)
            assert own.id in raised.value.message and raised.value.remedy
        assert scene.counts("delete_key") == 0
        await scene.provider.revoke(other.ref)
        assert [key.id for key in await scene.provider.list()] == [own.id]

    async def test_the_age_of_the_login_is_told(self, scene: Scene) -> None:
        assert await scene.provider.login_life() is None, "it is not listed"
        await self.itself(scene)
        assert await scene.provider.login_life() == LoginLife(scene.clock.moment(), None)
        ending = await scene.provider.create(new_label(), self.LIFETIME)
        scene.environ[ADMIN] = ending.material.reveal()
        assert await scene.provider.login_life() == LoginLife(scene.clock.moment(), scene.clock.moment() + self.LIFETIME)

    async def test_a_lifetime_that_openai_does_not_have_is_refused_before_anything_is_sent(self, scene: Scene) -> None:
        for lifetime in (timedelta(0), timedelta(days=366)):
            with pytest.raises(MisconfiguredError):
                await scene.provider.create(new_label(), lifetime)
        assert scene.vendor.log == []

    async def test_a_401_that_is_not_about_the_key_decides_nothing(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        for code in ("ip_not_authorized", "invalid_organization", None):
            scene.vendor.faults[:] = [fault("key", "status", status=401, code=code)]
            assert (await scene.provider.check(created.material)).verdict is Verdict.INDETERMINATE

    async def test_a_login_that_was_replaced_while_a_call_was_under_way_is_shown_again(self, scene: Scene) -> None:
        """Another run has promoted the successor, and deleted the key that this call was about to be made with."""
        await self.itself(scene)
        provider, resolve = scene.provider, scene.provider._resolve
        successor = await provider.create(new_label())
        reads = 0

        async def replaced_after_the_first_read(reference: str) -> Any:
            nonlocal reads
            reads += 1
            if reads == 1:
                found = await resolve(reference)
                scene.environ[ADMIN] = successor.material.reveal()
                scene.vendor.delete(next(key for key in scene.vendor.live() if key.id != successor.ref.id))
                return found
            return await resolve(reference)

        settings = OpenAIAdminKey.Settings.model_validate(self.settings(scene.url))
        other = self.adapter(settings, replaced_after_the_first_read, scene.clock.moment)
        created = await other.create(new_label())
        await other.aclose()
        assert {key.id for key in scene.vendor.live()} == {successor.ref.id, created.ref.id}
        assert reads == 2

    async def test_a_login_that_is_refused_is_not_shown_twice(self, scene: Scene) -> None:
        scene.environ[ADMIN] = self.admin()
        with pytest.raises(DeniedError):
            await scene.provider.create(new_label())
        assert scene.counts("create_key") == 1
