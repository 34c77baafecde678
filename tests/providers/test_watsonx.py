"""IBM watsonx: the suite, its SDK at the simulator, locks, and what a key's activity says and does not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from keyturn.errors import DeniedError, KeyturnError
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.providers.watsonx import Watsonx, _key, _last_exchange, _page
from keyturn.testing.provider_scene import Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite
from keyturn.testing.vendors.watsonx import ACCOUNT, IAM_ID, WatsonxSimulator
from tests.providers.sdk import drive


class OfWatsonx(ProviderSuite):
    PROVIDER, SIMULATOR = Watsonx, WatsonxSimulator
    MORE: Mapping[str, Any] = {}

    def settings(self, url: str) -> Mapping[str, Any]:
        told = {"management_key": "env:KEYTURN_SUITE_ADMIN", "iam_id": IAM_ID, "account": ACCOUNT, "base_url": url}
        return {**told, **self.MORE}


class TestWatsonx(OfWatsonx):
    @pytest.mark.real
    async def test_the_vendors_sdk_does_a_life_of_a_key(self, scene: Scene) -> None:
        told = await drive(scene, "watsonx", ACCOUNT, IAM_ID)
        (key,) = scene.vendor.keys.values()
        assert (told["id"], KeyMaterial(told["text"]).fingerprint()) == (key.id, key.fingerprint)
        assert (told["status"], told["expires"]) == (201, "2099-01-01T00:00+0000")
        assert (told["listed"], told["shown"], told["after"]) == (["from the SDK"], [""], 0)
        assert told["locked"] == [True, "409", True]
        assert told["tokens"] == [True, False, False]
        assert told["activity"] == [1, True]
        assert (told["deleted"], key.deletions) == (204, 1)

    async def test_a_key_that_somebody_else_has_locked_is_left_alone(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.keys[created.material.fingerprint()].more["locked"] = True
        for act in (scene.provider.revoke, scene.provider.disable):
            with pytest.raises(KeyturnError):
                await act(created.ref)
        assert [key.fingerprint for key in scene.live()] == [created.material.fingerprint()]
        assert scene.counts("unlock") == 0

    async def test_a_key_ends_not_before_its_minute_is_over(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label(), timedelta(days=1))
        assert created.ref.expires_at is not None
        assert timedelta(days=1) <= created.ref.expires_at - scene.clock.moment() < timedelta(days=1, minutes=1)

    async def test_tokens_are_got_once_and_anew_after_ibm_has_refused_one(self, scene: Scene) -> None:
        for _ in range(3):
            await scene.provider.list()
        assert scene.counts("issue_token") == 1
        scene.vendor.revoke_tokens()  # type: ignore[attr-defined]
        with pytest.raises(DeniedError):
            await scene.provider.list()
        await scene.provider.list()
        assert scene.counts("issue_token") == 2

    async def test_the_text_of_a_key_that_ibm_keeps_is_read_nowhere(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        assert scene.vendor.keys[created.material.fingerprint()].more["kept"] is False
        told = _key({**scene.vendor._shown(scene.live()[0]), "apikey": created.material.reveal()})  # type: ignore[attr-defined]
        assert scene.literal not in repr(told)

    async def test_a_page_without_its_follower_is_no_short_list(self, scene: Scene) -> None:
        page = {"apikeys": [], "next": "https://iam.example.com/v1/apikeys?pagesize=100"}
        for following in (page["next"], 7, "", "https://[", "/v1/apikeys?pagetoken=a&pagetoken=b"):
            with pytest.raises(UnreadableError):
                _page({**page, "next": following})
        assert _page({"apikeys": [], "next": "/v1/apikeys?pagetoken=a%20b"}) == ([], "a b")

    @pytest.mark.parametrize("told", [None, {}, "none", {"authn_count": 1}, {"authn_count": 0, "last_authn": "soon"}])
    def test_a_use_that_is_not_told_is_not_read_as_none(self, told: Any) -> None:
        with pytest.raises(UnreadableError):
            _last_exchange({"id": "ApiKey-1", "activity": told})
        assert _last_exchange({"id": "ApiKey-1", "activity": {"authn_count": 0}}) is None


class TestWatsonxWithLocksAndActivity(OfWatsonx):
    MORE: Mapping[str, Any] = {"lock": True, "activity": True}

    async def test_new_keys_are_locked_and_stay_so_when_enabled_again(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        key = scene.vendor.keys[created.material.fingerprint()]
        assert key.more["locked"] is True
        await scene.provider.disable(created.ref)
        await scene.provider.enable(created.ref)
        assert (key.more["locked"], key.disabled) == (True, False)

    async def test_a_lock_of_ours_does_not_keep_a_key_alive(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        await scene.provider.revoke(created.ref)
        assert scene.live() == []
