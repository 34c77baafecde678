"""xAI: the suite, the examples of its page, where permissions come from, and the regions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from keyturn.errors import LostAnswerError, MisconfiguredError, UnavailableError
from keyturn.model import Mark, Verdict
from keyturn.providers.xai import XAI
from keyturn.references import resolver
from keyturn.testing.in_place_suite import InPlaceSuite
from keyturn.testing.provider_scene import Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.xai import TEAM, XAISimulator
from tests.providers.page_example import PageExample

ACLS = ("api-key:model:*", "api-key:endpoint:*")


class TestXAI(ProviderSuite):
    PROVIDER, SIMULATOR = XAI, XAISimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {
            "management_key": "env:KEYTURN_SUITE_ADMIN",
            "team": TEAM,
            "acls": ACLS,
            "base_url": url,
            "api_url": url,
        }

    def another(self, scene: Scene, **more: Any) -> XAI:
        settings = XAI.Settings(**{**self.settings(scene.url), **more})
        return XAI(settings, resolver(environ=scene.environ), scene.clock.moment)

    async def test_answers_have_the_form_of_the_pages_examples(self, scene: Scene) -> None:
        """There is no SDK for these calls, and no description of the vendor's."""
        page = PageExample("xai.json")
        for number in range(101):
            self.by_hand(scene, f"key {number}")
        provider = self.another(scene, qps=5, qpm=100, tpm=100000)
        async with page.watching(scene):
            created = await provider.create(new_label(), timedelta(days=30))
            assert (await provider.check(created.material)).verdict is Verdict.ACCEPTED
            await provider.list()
            await provider.turn(created.ref, timedelta(days=30))
            await provider.revoke(created.ref)
        assert page.seen == page.answers.keys()
        await provider.aclose()

    # Permissions ----------------------------------------------------------------------------------------------------

    async def test_permissions_and_limits_are_copied_from_the_key_that_is_named_and_then_from_ours(
        self, scene: Scene
    ) -> None:
        first = {"acls": ["api-key:model:a", "api-key:endpoint:chat"], "qps": 5, "qpm": None, "tpm": "7"}
        by_hand = self.add(scene, "somebody's", **first)
        self.add(scene, "another", acls=["api-key:model:other"])
        self.add(scene, Mark.of("other", "memory:other").label("0" * 32), acls=["api-key:model:other"])
        for copy_from in ("somebody's", by_hand):
            provider = self.another(scene, acls=None, copy_from=copy_from)
            created = await provider.create(new_label())
            assert scene.vendor.keys[created.material.fingerprint()].more == first
            await provider.revoke(created.ref)
            await provider.aclose()
        provider = self.another(scene, acls=None, copy_from="somebody's", qpm=9)
        scene.clock.now += 1
        self.add(scene, new_label(), acls=["api-key:model:older"])
        scene.clock.now += 1
        self.add(scene, new_label(), acls=["api-key:model:newer"])
        scene.clock.now += 1
        scene.vendor.keys[self.fingerprint(scene, self.add(scene, new_label(), acls=["api-key:model:off"]))].disabled = True
        created = await provider.create(new_label())
        made = scene.vendor.keys[created.material.fingerprint()].more
        assert (made["acls"], made["qpm"]) == (["api-key:model:newer"], 9)
        await provider.aclose()

    def add(self, scene: Scene, name: str, **more: Any) -> str:
        key, _ = scene.vendor.add_key(name)
        key.more = more
        return key.id

    def fingerprint(self, scene: Scene, id: str) -> str:
        return scene.vendor.by_id(id).fingerprint

    @pytest.mark.parametrize("acls", [None, []])
    async def test_a_key_that_can_do_nothing_is_not_made(self, scene: Scene, acls: list[str] | None) -> None:
        if acls is not None:
            self.add(scene, "somebody's", acls=acls)
        before = len(scene.live())
        provider = self.another(scene, acls=None, copy_from="somebody's")
        with pytest.raises(MisconfiguredError) as raised:
            await provider.create(new_label())
        assert "acls" in raised.value.remedy
        assert (len(scene.live()), scene.counts("create_key")) == (before, 0)
        await provider.aclose()

    @pytest.mark.parametrize("said", [{"acls": None}, {"acls": []}, {"acls": None, "copy_from": ""}])
    def test_settings_without_permissions_are_refused(self, said: Mapping[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"acls|copy_from"):
            XAI.Settings(**{**self.settings("http://127.0.0.1:1"), **said})

    # Regions, and keys that are barred --------------------------------------------------------------------------------

    async def test_a_key_is_accepted_once_every_region_has_it(self, scene: Scene) -> None:
        scene.vendor.regions["eu-west-1.api.x.ai"] = 20  # type: ignore[attr-defined]
        created = await scene.provider.create(new_label())
        judged = await scene.provider.check(created.material)
        assert (judged.verdict, "1 of" in judged.reason) == (Verdict.INDETERMINATE, True)
        hurried = self.another(scene, regions=False)
        assert (await hurried.check(created.material)).verdict is Verdict.ACCEPTED
        await hurried.aclose()
        scene.clock.now += 20
        assert (await scene.provider.check(created.material)).verdict is Verdict.ACCEPTED

    @pytest.mark.parametrize(
        "more", [{"status": 403}, {"status": 404}, {"status": 500}, {"kind": "html", "status": 200}, {"kind": "reset"}]
    )
    async def test_regions_that_are_not_told_leave_a_key_undecided(self, scene: Scene, more: Mapping[str, Any]) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault("propagation", **{"kind": "status", **more}))
        judged = await scene.provider.check(created.material)
        assert (judged.verdict, "regions" in judged.reason) == (Verdict.INDETERMINATE, True)

    async def test_no_region_at_all_is_not_every_region(self, scene: Scene) -> None:
        scene.vendor.regions.clear()  # type: ignore[attr-defined]
        created = await scene.provider.create(new_label())
        assert (await scene.provider.check(created.material)).verdict is Verdict.INDETERMINATE

    async def test_a_key_that_says_that_it_is_disabled_is_not_accepted(self, scene: Scene) -> None:
        scene.vendor.tells_disabled = True  # type: ignore[attr-defined]
        created = await scene.provider.create(new_label())
        await scene.provider.disable(created.ref)
        judged = await scene.provider.check(created.material)
        assert (judged.verdict, "api_key_disabled" in judged.reason) == (Verdict.INDETERMINATE, True)
        await scene.provider.enable(created.ref)
        assert (await scene.provider.check(created.material)).verdict is Verdict.ACCEPTED

    async def test_a_disable_that_does_not_show_in_the_list_is_an_error(self, scene: Scene) -> None:
        """That `fieldMask` takes `disabled` is nowhere written."""
        created = await scene.provider.create(new_label())

        async def ignores(_: Any) -> Mapping[str, Any]:
            return {}

        scene.vendor.update_key = ignores  # type: ignore[attr-defined]
        scene.server.app = scene.vendor.app()
        with pytest.raises(UnavailableError):
            await scene.provider.disable(created.ref)
        await scene.provider.enable(created.ref)

    @pytest.mark.parametrize("status", [400, 404])
    async def test_whatever_deleting_twice_is_answered_the_list_decides(self, scene: Scene, status: int) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault("delete_key", "status", status=status))
        with pytest.raises(UnavailableError):
            await scene.provider.revoke(created.ref)
        for _ in range(2):
            await scene.provider.revoke(created.ref)
            scene.vendor.faults.append(fault("delete_key", "status", status=status))


class TestXAIInPlace(InPlaceSuite):
    PROVIDER, SIMULATOR, TURN = XAI, XAISimulator, "rotate_key"

    def settings(self, url: str) -> Mapping[str, Any]:
        return {**TestXAI().settings(url), "in_place": "24h"}

    async def test_an_answer_that_tells_another_key_is_not_believed(self, scene: Scene) -> None:
        first, other = await self.made(scene), await self.made(scene)
        simulator: Any = scene.vendor
        simulator.by_id = lambda id: scene.vendor.keys[other.material.fingerprint()]
        with pytest.raises(LostAnswerError):
            await scene.provider.turn(first.ref)
