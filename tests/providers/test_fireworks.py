"""Fireworks: the suite, and its SDK at the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from keyturn.errors import UnavailableError
from keyturn.json_object import json_object
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, Verdict
from keyturn.providers.admin_api import Answer
from keyturn.providers.fireworks import Fireworks
from keyturn.references import resolver
from keyturn.testing.provider_scene import Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.fireworks import ACCOUNT, USER, FireworksSimulator
from tests.providers.sdk import drive


class TestFireworks(ProviderSuite):
    PROVIDER, SIMULATOR = Fireworks, FireworksSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {"admin_key": "env:KEYTURN_SUITE_ADMIN", "account": ACCOUNT, "user": USER, "base_url": url}

    @pytest.mark.real
    async def test_the_vendors_sdk_does_a_life_of_a_key(self, scene: Scene) -> None:
        other = self.by_hand(scene, "before")
        scene.clock.now += 1
        told = await drive(scene, "fireworks", ACCOUNT, USER)
        kept, key = scene.vendor.keys.values()
        assert (told["id"], KeyMaterial(told["text"]).fingerprint()) == (key.id, key.fingerprint)
        made = datetime.fromtimestamp(key.created_at, UTC).isoformat()
        assert told["expires"] == datetime(2100, 1, 1, tzinfo=UTC).isoformat()
        assert told["listed"][1] == [key.id, "from the SDK", key.hint.removesuffix(key.hint[-7:]), made]
        assert (told["accepted"], told["accepted_after"], told["after"]) == (True, False, ["before"])
        assert (kept.fingerprint, key.deletions) == (other.fingerprint(), 1)

    async def test_a_list_that_may_be_short_is_an_error(self, scene: Scene) -> None:
        """A full page that names no other: nobody could tell whether the rest is left out."""
        scene.vendor.pages = False  # type: ignore[attr-defined]
        for number in range(200):
            self.by_hand(scene, f"key {number}")
        for call in (scene.provider.list(), scene.provider.find("key 199"), scene.provider.revoke(KeyRef("none", ""))):
            with pytest.raises(UnavailableError):
                await call

    @pytest.mark.parametrize("status", [400, 404])
    async def test_whatever_deleting_twice_is_answered_the_list_decides(self, scene: Scene, status: int) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault("delete_key", "status", status=status))
        with pytest.raises(UnavailableError):
            await scene.provider.revoke(created.ref)
        await scene.provider.revoke(created.ref)
        scene.vendor.faults.append(fault("delete_key", "status", status=status))
        await scene.provider.revoke(created.ref)

    def test_a_401_for_want_of_a_permission_is_no_dead_key(self) -> None:
        judged = Fireworks.VERDICTS.judge(self.answered(401, "insufficient permissions"))
        assert judged.verdict is Verdict.INDETERMINATE
        assert Fireworks.VERDICTS.judge(self.answered(401, "Unauthorized")).verdict is Verdict.REJECTED

    def answered(self, status: int, message: str) -> Answer:
        response = self.SIMULATOR(KeyMaterial(self.admin())).error(status, message)
        return Answer(status, {}, json_object(bytes(response.body)), True)

    async def test_another_call_can_be_chosen_to_try_a_key_with(self, scene: Scene) -> None:
        path = f"/v1/accounts/{ACCOUNT}/models?orderBy=name"
        settings = Fireworks.Settings(**self.settings(scene.url), check_path=path)
        provider = Fireworks(settings, resolver(environ=scene.environ))
        assert (await provider.check(self.by_hand(scene, "somebody's"))).verdict is Verdict.ACCEPTED
        await provider.aclose()
        assert scene.vendor.addresses == [f"{scene.url}{path}"] * 2  # the key, and a stranger
        with pytest.raises(ValueError, match="check_path"):
            Fireworks.Settings(**self.settings(scene.url), check_path="https://elsewhere.example/")
