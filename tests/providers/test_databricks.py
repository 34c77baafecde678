"""Databricks: the suite for each of its two kinds of key, and its SDK at the simulators."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.errors import LostAnswerError, MisconfiguredError, NotFoundError
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.model import Verdict
from keyturn.providers.databricks import Databricks, _ms, _secrets_of
from keyturn.testing.provider_scene import ADMIN, Scene, new_label
from keyturn.testing.provider_suite import ProviderSuite, fault
from keyturn.testing.vendors.databricks import (
    ACCOUNT,
    APPLICATION,
    CLIENT,
    SERVICE_PRINCIPAL,
    DatabricksSecretsSimulator,
    DatabricksTokensSimulator,
)
from tests.providers.sdk import drive


class TestDatabricksSecrets(ProviderSuite):
    """A secret has no name, so that what the suite does by names is done by ids here."""

    PROVIDER, SIMULATOR = Databricks, DatabricksSecretsSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {
            "mode": "m2m_secret",
            "host": url,
            "application_id": APPLICATION,
            "account": ACCOUNT,
            "service_principal": SERVICE_PRINCIPAL,
            "client_id": CLIENT,
            "client_secret": "env:KEYTURN_SUITE_ADMIN",
        }

    async def test_a_created_key_is_accepted_and_listed_under_its_label(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        assert [(key.id, key.name) for key in await scene.provider.list()] == [(created.ref.id, "")]
        assert (await scene.provider.check(created.material)).verdict is Verdict.ACCEPTED
        assert [key.fingerprint for key in scene.live()] == [created.material.fingerprint()]

    async def test_more_keys_than_a_page_holds_are_all_listed_oldest_first(self, scene: Scene) -> None:
        made = []
        for _ in range(5):
            scene.clock.now += 1
            made.append(scene.vendor.add_key("", at_once=True)[0].id)
        assert [key.id for key in await scene.provider.list()] == made

    async def test_a_create_whose_answer_is_lost_is_found_by_its_name(self, scene: Scene) -> None:
        """It is not: it is told as lost, and nothing is taken for it."""
        name = new_label()
        scene.vendor.faults.append(fault(self.CREATE, "lose_answer"))
        with pytest.raises(LostAnswerError):
            await scene.provider.create(name)
        assert list(await scene.provider.find(name)) == []
        assert (len(scene.live()), len(await scene.provider.list()), scene.counts(self.CREATE)) == (1, 1, 1)

    async def test_a_sixth_secret_is_refused_and_not_a_lost_one(self, scene: Scene) -> None:
        assert scene.provider.capabilities.max_live_keys == 5
        for _ in range(5):
            await scene.provider.create(new_label())
        with pytest.raises(MisconfiguredError):
            await scene.provider.create(new_label())
        assert len(scene.live()) == 5

    def test_pages_end_where_the_vendor_says_so(self) -> None:
        assert _secrets_of({}) == ([], "")
        assert _secrets_of({"secrets": [], "next_page_token": "a"}) == ([], "a")
        broken: list[dict[str, Any]] = [
            {"secrets": None},
            {"secrets": {}},
            {"next_page_token": 7},
            {"secrets": [{"id": "1"}]},
        ]
        for wrong in broken:
            with pytest.raises(UnreadableError):
                _secrets_of(wrong)

    @pytest.mark.real
    async def test_the_vendors_sdk_does_a_life_of_a_key(self, scene: Scene) -> None:
        told = await drive(scene, "databricks", ACCOUNT, SERVICE_PRINCIPAL, CLIENT)
        key = scene.vendor.keys[KeyMaterial(told["text"]).fingerprint()]
        assert (told["id"], told["expires"], told["listed"], told["after"]) == (key.id, True, True, 0)
        assert [each.deletions for each in scene.vendor.keys.values()] == [1, 1, 1]


class TestDatabricksTokens(ProviderSuite):
    PROVIDER, SIMULATOR = Databricks, DatabricksTokensSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {"mode": "pat", "host": url, "application_id": APPLICATION, "token": "env:KEYTURN_SUITE_ADMIN"}

    async def test_a_use_after_a_moment_is_never_told_as_one_before_it(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        key = scene.vendor.keys[created.material.fingerprint()]
        day = scene.clock.now // 86400 * 86400 + 86400
        for hour in (0, 9, 23.9):
            key.uses[:] = [day + hour * 3600]
            scene.clock.now = day + hour * 3600
            rolled = datetime.fromtimestamp(key.uses[0], UTC)
            for later in (0, 60, 86400, 5 * 86400):
                scene.clock.now = day + hour * 3600 + later
                used = await scene.provider.last_used(created.ref)
                assert used is not None
                assert rolled <= used <= scene.clock.moment()

    async def test_the_workspace_has_a_token_endpoint_of_its_own(self, scene: Scene) -> None:
        """As LiteLLM and the SDK's discovery have it."""
        given = {**self.settings(scene.url), "token": None, "client_id": CLIENT, "client_secret": f"env:{ADMIN}"}
        other = Databricks(Databricks.Settings.model_validate(given), scene.provider._resolve)
        with pytest.raises(NotFoundError, match=r"/oidc/v1/token"):
            await other.list()
        await other.aclose()

    def test_times_are_milliseconds(self) -> None:
        assert _ms(1_626_286_601_651) == datetime(2021, 7, 14, 18, 16, 41, 651000, UTC)
        for wrong in (None, True, "1626286601651", 1.5, 10**17):
            with pytest.raises(UnreadableError):
                _ms(wrong)

    @pytest.mark.real
    async def test_the_vendors_sdk_does_a_life_of_a_key(self, scene: Scene) -> None:
        told = await drive(scene, "databricks", APPLICATION)
        (key,) = scene.vendor.keys.values()
        assert (told["id"], KeyMaterial(told["text"]).fingerprint()) == (key.id, key.fingerprint)
        assert (told["listed"], told["me"], told["again"]) == (["from the SDK"], APPLICATION, False)
        assert told["groups"] == ["admins"]
        assert told["used"] == scene.clock.now // 86400 * 86400 * 1000
        assert ("Invalid access token" in told["refused"], told["after"], key.deletions) == (True, 0, 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "m2m_secret", "token": "env:T"},
        {"mode": "m2m_secret", "account": "a", "token": "env:T"},
        {"mode": "pat"},
        {"mode": "pat", "token": "env:T", "client_id": "c", "client_secret": "env:S"},
        {"mode": "pat", "client_secret": "env:S"},
        {"mode": "pat", "token": "env:T", "client_id": "c"},
    ],
)
def test_half_a_login_and_half_an_address_are_refused(settings: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needs account|log in with"):
        Databricks.Settings.model_validate({"host": "https://example.com", "application_id": "a", **settings})


def test_no_use_is_believed_absent_before_a_day_is_over() -> None:
    given = {"mode": "pat", "host": "https://example.com", "application_id": "a", "token": "env:T"}
    assert Databricks.Settings.model_validate(given).usage_lag >= timedelta(days=1)
