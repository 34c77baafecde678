"""ElevenLabs: the suite, and its SDK at the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from keyturn.errors import UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import Verdict
from keyturn.providers.elevenlabs import ElevenLabs
from keyturn.references import resolver
from keyturn.testing.provider_scene import Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.elevenlabs import ACCOUNT, ElevenLabsSimulator
from tests.providers.sdk import drive


class TestElevenLabs(ProviderSuite):
    PROVIDER, SIMULATOR = ElevenLabs, ElevenLabsSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {
            "admin_key": "env:KEYTURN_SUITE_ADMIN",
            "service_account": ACCOUNT,
            "permissions": ["text_to_speech", "user_read"],
            "base_url": url,
        }

    @pytest.mark.real
    async def test_the_vendors_sdk_does_a_life_of_a_key(self, scene: Scene) -> None:
        other = self.by_hand(scene, "before")
        told = await drive(scene, "elevenlabs", ACCOUNT)
        kept, key = scene.vendor.keys.values()
        assert (told["id"], KeyMaterial(told["text"]).fingerprint()) == (key.id, key.fingerprint)
        assert told["listed"][1] == [key.id, "from the SDK", key.hint, int(key.created_at), told["asked"]]
        assert (key.more["permissions"], key.more["character_limit"]) == (["user_read"], 5)
        assert (told["accepted"], told["disabled"], told["enabled"]) == (True, [True, False], [False, True])
        assert (told["accepted_after"], told["after"], key.deletions) == (False, ["before"], 1)
        assert kept.fingerprint == other.fingerprint()

    @pytest.mark.parametrize(("days", "sent"), [(90, True), (91, False), (365, False)])
    async def test_a_life_beyond_the_vendors_longest_is_never_cut_short(self, scene: Scene, days: int, sent: bool) -> None:
        """Cut to 90 days, the key of a rotation every 91 would die in production."""
        created = await scene.provider.create(new_label(), timedelta(days=days))
        assert (created.ref.expires_at is not None) is sent
        scene.clock.now += 90 * 86400 + 1
        assert (scene.live() == []) is sent

    async def test_the_new_key_has_the_permissions_and_limits_of_the_settings(self, scene: Scene) -> None:
        for permissions in ("all", ["text_to_speech"]):
            more = {"permissions": permissions, "character_limit": 7, "allowed_ips": ["192.0.2.0/24"]}
            provider = self.another(scene, **more)
            created = await provider.create(new_label())
            assert scene.vendor.keys[created.material.fingerprint()].more == more
            await provider.aclose()

    @pytest.mark.parametrize("nothing", [[], "", "none", None])
    def test_permissions_have_to_be_said(self, nothing: Any) -> None:
        with pytest.raises(ValueError, match="permissions"):
            ElevenLabs.Settings(**{**self.settings("http://127.0.0.1:1"), "permissions": nothing})

    async def test_keys_that_may_not_read_their_user_are_left_to_litellm(self, scene: Scene) -> None:
        assert self.another(scene, permissions=["text_to_speech"]).capabilities.can_check is False
        assert self.another(scene, permissions="all").capabilities.can_check is True
        narrow = scene.vendor.add_key("somebody's", permissions=["text_to_speech"])[1]
        judged = await scene.provider.check(narrow)
        assert (judged.verdict, "user_read" in judged.reason) == (Verdict.INDETERMINATE, True)

    @pytest.mark.parametrize("code", ["quota_exceeded", "missing_permissions", "detected_unusual_activity", ""])
    async def test_a_401_of_another_code_is_no_dead_key(self, scene: Scene, code: str) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault("key", "status", status=401, code=code))
        assert (await scene.provider.check(created.material)).verdict is Verdict.INDETERMINATE

    async def test_a_disable_that_does_not_show_in_the_list_is_an_error(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        for operation, act in (("disable_key", scene.provider.disable), ("update_key", scene.provider.enable)):
            scene.vendor.keys[created.material.fingerprint()].disabled = operation == "update_key"
            scene.vendor.faults.append(fault(operation, "html", status=200))
            with pytest.raises(UnavailableError):
                await act(created.ref)

    def another(self, scene: Scene, **more: Any) -> ElevenLabs:
        settings = ElevenLabs.Settings(**{**self.settings(scene.url), **more})
        return ElevenLabs(settings, resolver(environ=scene.environ), scene.clock.moment)
