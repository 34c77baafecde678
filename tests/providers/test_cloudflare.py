"""Cloudflare: the suite, its SDK at the simulator, and what a PUT of the whole token must not lose."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from keyturn.errors import MisconfiguredError, NotFoundError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import LoginLife, Verdict
from keyturn.providers.admin_api import Answer
from keyturn.providers.cloudflare import Cloudflare
from keyturn.testing.in_place_suite import InPlaceSuite
from keyturn.testing.provider_scene import Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.cloudflare import ACCOUNT, CONDITION, POLICY, TEMPLATE, CloudflareSimulator
from keyturn.testing.vendors.service import stamp
from tests.providers.sdk import drive


def own(effect: str, resource: str = f"com.cloudflare.api.account.{ACCOUNT}") -> Mapping[str, Any]:
    """A policy of the management token."""
    group = {"id": "1", "name": "Account API Tokens Write"}
    return {"effect": effect, "permission_groups": [group], "resources": {resource: "*"}}


class TestCloudflare(ProviderSuite):
    PROVIDER, SIMULATOR = Cloudflare, CloudflareSimulator
    ASKED = ("verify",)  # tokens are read for other reasons, too

    def settings(self, url: str) -> Mapping[str, Any]:
        return {
            "management_token": "env:KEYTURN_SUITE_ADMIN",
            "account": ACCOUNT,
            "like": TEMPLATE,
            "base_url": f"{url}/client/v4",
        }

    @pytest.mark.real
    async def test_the_vendors_sdk_does_a_life_of_a_key(self, scene: Scene) -> None:
        told = await drive(scene, "cloudflare", ACCOUNT, TEMPLATE)
        before, key = scene.vendor.keys.values()
        assert KeyMaterial(told["first"]).fingerprint() == before.fingerprint
        assert (told["id"], KeyMaterial(told["text"]).fingerprint()) == (key.id, key.fingerprint)
        assert (told["listed"], told["after"], told["expires"]) == (["from the SDK"], 0, 2099)
        assert told["own"] == ["Account API Tokens Read", "Account API Tokens Write"]
        assert told["verified"] == [key.id, "active"]
        assert told["disabled"] == ["disabled", "disabled"]
        assert told["turned"] == [401, key.id]
        assert told["groups"] == [group["id"] for group in POLICY["permission_groups"]]  # type: ignore[index]
        assert (told["deleted"], key.deletions) == (key.id, 1)

    @pytest.mark.parametrize(
        ("policies", "ok"),
        [
            ([], None),
            ([own("allow")], True),
            ([own("allow", f"com.cloudflare.api.account.{'0' * 32}")], None),
            ([own("allow", "com.cloudflare.api.account.*")], True),
            ([own("allow"), own("deny")], None),
            ([{"permission_groups": [{"name": ["Account API Tokens Write"]}], "resources": {}}], None),
            ([{"permission_groups": [1]}], None),
            ("policies", None),
        ],
    )
    async def test_of_policies_only_what_is_understood_is_a_yes(self, scene: Scene, policies: Any, ok: bool | None) -> None:
        scene.vendor._own_policies = lambda: policies  # type: ignore[attr-defined]
        assert [each.ok for each in await scene.provider.preflight()] == [True, ok, True]

    async def test_a_new_key_may_do_what_the_other_may_from_where_it_may(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        self.assert_as_the_template(scene, created.material)

    async def test_what_limits_a_token_outlives_disable_and_enable(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label(), timedelta(days=3))
        key = scene.vendor.keys[created.material.fingerprint()]
        for act in (scene.provider.disable, scene.provider.enable):
            before = (key.name, key.expires_at)
            await act(created.ref)
            assert (key.name, key.expires_at) == before
            self.assert_as_the_template(scene, created.material)

    def assert_as_the_template(self, scene: Scene, material: KeyMaterial) -> None:
        more = scene.vendor.keys[material.fingerprint()].more
        (policy,) = more["policies"]
        assert (policy["effect"], policy["resources"]) == (POLICY["effect"], POLICY["resources"])
        assert [group["id"] for group in policy["permission_groups"]] == ["a92d2450e05d4e7bb7d0a64968f83d11"]
        assert more["condition"] == CONDITION

    async def test_a_key_that_has_ended_is_listed_until_it_is_deleted(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label(), timedelta(days=1))
        scene.clock.now += 2 * 86400
        assert [key.id for key in await scene.provider.list()] == [created.ref.id]
        await scene.provider.revoke(created.ref)
        assert await scene.provider.list() == []

    async def test_a_list_that_gives_the_same_page_again_is_an_error(self, scene: Scene) -> None:
        await scene.provider.create(new_label())
        app = scene.server.app

        async def first_page_alone(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "query_string": scope["query_string"].replace(b"page=2", b"page=1")}, receive, send)

        scene.server.app = first_page_alone
        with pytest.raises(UnavailableError):
            await scene.provider.list()

    async def test_a_token_that_verifies_as_something_else_is_not_accepted(self, scene: Scene) -> None:
        for status in ("disabled", "expired", "", None):
            answer = Answer(200, {}, {"result": {"id": "1", "status": status}, "success": True}, True)
            assert scene.provider.verdicts.judge(answer).verdict is Verdict.INDETERMINATE

    async def test_without_policies_to_copy_nothing_is_made(self, scene: Scene) -> None:
        scene.provider.settings = scene.provider.settings.model_copy(update={"like": "0" * 32})
        with pytest.raises(NotFoundError):
            await scene.provider.create(new_label())
        assert [finding.ok for finding in await scene.provider.preflight()] == [True, True, False]
        empty = scene.vendor.add_key("bare", at_once=True, policies=[])[0]
        scene.provider.settings = scene.provider.settings.model_copy(update={"like": empty.id})
        with pytest.raises(MisconfiguredError):
            await scene.provider.create(new_label())
        assert [key.name for key in scene.live()] == ["bare"]

    async def test_a_policy_that_is_half_understood_is_not_written(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.keys[created.material.fingerprint()].more["policies"] = [POLICY, {**POLICY, "permission_groups": [1]}]
        with pytest.raises(UnavailableError):
            await scene.provider.disable(created.ref)
        assert scene.counts("update_key") == 0

    async def test_a_template_that_cannot_be_read_is_no_lost_create(self, scene: Scene) -> None:
        scene.vendor.faults.append(fault("get_key", "reset"))
        with pytest.raises(UnavailableError):
            await scene.provider.create(new_label())
        assert scene.counts("create_key") == 0

    async def test_the_age_of_the_login_is_told(self, scene: Scene) -> None:
        end = scene.clock.moment() + timedelta(days=9)
        for until in (None, end):
            assert isinstance(scene.vendor, CloudflareSimulator)
            ends = stamp(until.timestamp() if until else None)
            scene.vendor.own_life = {"issued_on": stamp(scene.clock()), "expires_on": ends}
            assert await scene.provider.login_life() == LoginLife(scene.clock.moment(), until)


class TestCloudflareInPlace(InPlaceSuite):
    PROVIDER, SIMULATOR, TURN = Cloudflare, CloudflareSimulator, "turn_key_over"

    def settings(self, url: str) -> Mapping[str, Any]:
        return {**TestCloudflare().settings(url), "in_place": "without_overlap"}
