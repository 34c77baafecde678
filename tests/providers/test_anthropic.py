"""Anthropic: the suite of pools, its SDK at the simulator, and what is Anthropic's alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from keyturn.errors import ByHandError, DeniedError, NotFoundError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef
from keyturn.providers.anthropic import Anthropic
from keyturn.references import resolver
from keyturn.stores.memory import MemoryStore
from keyturn.testing.pool_suite import POOL, PoolSuite
from keyturn.testing.provider_scene import ADMIN, Scene, new_label
from keyturn.testing.provider_suite import fault
from keyturn.testing.vendors.anthropic import AnthropicSimulator
from tests.providers.sdk import drive


class TestAnthropic(PoolSuite):
    PROVIDER, SIMULATOR = Anthropic, AnthropicSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {"pool": POOL, "admin_key": f"env:{ADMIN}", "base_url": url}

    def another(self, scene: Scene, **more: Any) -> Anthropic:
        """Over the same pool, with other settings."""
        settings = Anthropic.Settings.model_validate({**self.settings(scene.url), **more})
        store: MemoryStore = scene.provider.ledger._store()
        return Anthropic(settings, resolver(environ=scene.environ), scene.clock.moment, stores=lambda _: store)

    @pytest.mark.real
    async def test_the_vendors_sdk_lists_and_turns_off(self, scene: Scene) -> None:
        made = [scene.vendor.add_key(f"key {number}", at_once=True)[0] for number in range(3)]
        made[1].uses.append(scene.clock())
        told = await drive(scene, "anthropic", made[1].id)
        assert told["listed"] == [key.id for key in reversed(made)]
        assert told["statuses"] == ["active", "inactive", "active", "archived"]
        assert (told["hint"], told["inactive"]) == (made[1].hint, [made[1].id])
        assert (len(told["used"]), told["stranger"]) == (1, "authentication_error")

    async def test_keys_of_people_are_listed_beside_the_pool_and_each_once(self, scene: Scene) -> None:
        """Also more than a page of them: what is not seen there could not be told from a key that is gone."""
        (pooled,) = await self.filled(scene)
        for number in range(1100):
            scene.clock.now += 1
            scene.vendor.add_key(f"somebody's {number}", at_once=True, workspace_id="w" if number % 2 else "v")
        listed = await scene.provider.list()
        assert len(listed) == len({key.id for key in listed})
        assert len(listed) >= 1101 - 40  # a hint of four characters may be that of the pool's own key
        assert [key.fingerprint for key in listed if key.fingerprint] == [pooled.fingerprint()]
        assert scene.counts("list_keys") == 3  # one for what was put in, and two pages
        provider = self.another(scene, workspace="w")
        assert {key.name for key in await provider.list() if not key.fingerprint} <= {
            f"somebody's {n}" for n in range(1, 1100, 2)
        }
        await provider.aclose()

    async def test_a_key_is_disabled_and_enabled_by_the_hint_of_its_text(self, scene: Scene) -> None:
        await self.filled(scene)
        taken = await scene.provider.take(new_label(), ())
        for _ in range(2):
            await scene.provider.disable(taken.ref)
        assert scene.live() == []
        assert taken.ref.id in [key.id for key in await scene.provider.list()]
        for _ in range(2):
            await scene.provider.enable(taken.ref)
        assert len(scene.live()) == 1
        with pytest.raises(NotFoundError):
            await scene.provider.disable(KeyRef("apikey_nobody", ""))

    async def test_what_an_old_key_becomes_is_a_setting(self, scene: Scene) -> None:
        one, two = await self.filled(scene, 2)
        first = await scene.provider.take(new_label(), ())
        await scene.provider.end(first.ref, None)
        assert scene.vendor.keys[one.fingerprint()].more["status"] == "inactive"
        provider = self.another(scene, final_status="archived")
        second = await provider.take(new_label(), ())
        await provider.end(second.ref, None)
        await provider.end(first.ref, None)
        assert [scene.vendor.keys[each.fingerprint()].more["status"] for each in (one, two)] == ["archived", "archived"]
        await provider.aclose()

    async def test_when_a_key_ends_is_asked_and_a_key_of_elsewhere_is_not_taken_in(self, scene: Scene) -> None:
        ends = scene.clock() + 90 * 86400
        entry = await scene.provider.put_in(scene.vendor.add_key("by hand", at_once=True, expires_at=ends)[1])
        assert entry.key is not None and entry.key.expires_at is not None
        assert entry.key.expires_at.timestamp() == ends
        with pytest.raises(NotFoundError, match="hint"):
            await scene.provider.put_in(KeyMaterial(scene.vendor.text("elsewhere")))
        assert len([entry for entry in await scene.provider.entries() if entry.key]) == 1

    async def test_a_hint_of_two_keys_tells_neither(self, scene: Scene) -> None:
        (material,) = await self.filled(scene)
        taken = await scene.provider.take(new_label(), ())
        hint = scene.vendor.keys[material.fingerprint()].hint
        scene.vendor.add_key("a twin", at_once=True, hint=hint)
        with pytest.raises(ByHandError, match="hint"):
            await scene.provider.end(taken.ref, None)
        with pytest.raises(NotFoundError):
            await scene.provider.disable(taken.ref)
        assert len(scene.live()) == 2

    async def test_an_end_that_was_not_done_is_not_believed(self, scene: Scene) -> None:
        await self.filled(scene)
        taken = await scene.provider.take(new_label(), ())
        for kind, status in (("html", 200), ("status", 500), ("reset", 500)):
            scene.vendor.faults[:] = [fault("update_key", kind, status=status)]
            with pytest.raises(UnavailableError):
                await scene.provider.end(taken.ref, None)
        assert len(scene.live()) == 1
        scene.environ[ADMIN] = self.admin()
        with pytest.raises(DeniedError):
            await scene.provider.end(taken.ref, None)
        assert any(finding.ok is False and finding.remedy for finding in await scene.provider.preflight())

    async def test_the_usage_report_tells_the_last_use_where_it_is_asked(self, scene: Scene) -> None:
        (material,) = await self.filled(scene)
        taken = await scene.provider.take(new_label(), ())
        assert not scene.provider.capabilities.reports_last_use
        assert await scene.provider.last_used(taken.ref) is None
        assert scene.counts("usage") == 0
        provider = self.another(scene, usage=True)
        assert provider.capabilities.reports_last_use
        assert await provider.last_used(KeyRef(taken.ref.id, "")) is None
        used = scene.clock()
        scene.vendor.keys[material.fingerprint()].uses += [used - 90_000, used]
        scene.clock.now += 5 * 3600
        told = await provider.last_used(KeyRef(taken.ref.id, ""))
        assert told is not None and 0 <= told.timestamp() - used <= 60
        with pytest.raises(NotFoundError):
            await provider.last_used(KeyRef("apikey_nobody", ""))
        scene.vendor.faults.append(fault("usage", "html", status=200))
        with pytest.raises(UnavailableError):
            await provider.last_used(taken.ref)
        scene.clock.now += timedelta(days=40).total_seconds()
        assert await provider.last_used(taken.ref) is None
        await provider.aclose()
