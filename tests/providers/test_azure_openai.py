"""Azure OpenAI: the suite of two slots, Azure's SDK at the simulator, and what is Azure's alone."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.errors import DeniedError
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.providers.azure_openai import AzureOpenAI
from keyturn.providers.azure_permissions import LIST_KEYS, REGENERATE, rights
from keyturn.references import resolver
from keyturn.testing.provider_scene import ADMIN, Scene
from keyturn.testing.slots_suite import SlotsSuite
from keyturn.testing.vendors.azure_openai import ACCOUNT, GROUP, SUBSCRIPTION, AzureSimulator
from tests.providers.page_example import PageExample
from tests.providers.sdk import drive

PLACE = {"subscription": SUBSCRIPTION, "resource_group": GROUP, "account": ACCOUNT}


class TestAzureOpenAI(SlotsSuite):
    PROVIDER, SIMULATOR = AzureOpenAI, AzureSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {"access_token": f"env:{ADMIN}", "base_url": url, "endpoint": url, "owns_both_keys": True, **PLACE}

    @pytest.mark.real
    async def test_the_vendors_sdk_does_a_life_of_a_key(self, scene: Scene) -> None:
        before = {slot: material.fingerprint() for slot, material in scene.vendor.slots.items()}  # type: ignore[attr-defined]
        told = await drive(scene, "azure_openai", SUBSCRIPTION, GROUP, ACCOUNT)
        assert {slot: KeyMaterial(text).fingerprint() for slot, text in told["before"].items()} == before
        assert told["after"]["key1"] == told["before"]["key1"]
        assert KeyMaterial(told["after"]["key2"]).fingerprint() in {key.fingerprint for key in scene.live()}
        assert told["disable_local_auth"] is False

    async def test_what_is_told_of_permissions_has_the_form_of_microsofts_types(self, scene: Scene) -> None:
        path = (
            f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.CognitiveServices/accounts/{ACCOUNT}"
        )
        page = PageExample("azure_openai.json", strip=path)
        async with page.watching(scene):
            await scene.provider._granted()
        assert page.seen == page.answers.keys()

    @pytest.mark.parametrize(
        ("roles", "may", "note"),
        [
            ([{"actions": ["*"], "notActions": []}], True, "less would do"),
            ([{"actions": ["*"], "notActions": [REGENERATE]}, {"actions": ["microsoft.COGNITIVESERVICES/*"]}], True, ""),
            ([{"actions": [LIST_KEYS, REGENERATE]}], True, ""),
            ([{"actions": [LIST_KEYS]}], False, ""),
            ([{"actions": ["*/read"]}, {"actions": ["*"], "notActions": ["*/regenerateKey/action"]}], False, ""),
            ([{"actions": ["Microsoft.CognitiveServices/accounts/read"]}], False, ""),
            ([], False, ""),
            ([{"actions": ["*Cognitive*/*/*Key*/action"]}], True, ""),
            (
                [{"actions": ["*listKeys/action*regenerateKey/action", "Microsoft.CognitiveServices/accounts/*/regen"]}],
                False,
                "",
            ),
            ([{"actions": ["*"], "condition": "@Resource[a] StringEquals 'b'"}], None, ""),
        ],
    )
    def test_actions_of_roles_are_added_up(self, roles: list[Any], may: bool | None, note: str) -> None:
        found = rights(AzureOpenAI.FACTS, {"value": roles})
        assert found.has[REGENERATE] is may
        assert note in found.note

    def test_half_of_the_roles_are_no_denial(self) -> None:
        told = {"value": [{"actions": [LIST_KEYS]}], "nextLink": "https://management.azure.com/next"}
        assert rights(AzureOpenAI.FACTS, told).has == {LIST_KEYS: True, REGENERATE: None}
        for broken in ({}, {"value": [{"actions": "*"}]}, {"value": [{"actions": [1]}]}):
            with pytest.raises(UnreadableError):
                rights(AzureOpenAI.FACTS, broken)

    async def test_an_application_logs_in_by_its_secret(self, scene: Scene) -> None:
        application = {"tenant": "contoso", "client_id": "app", "client_secret": f"env:{ADMIN}", "login_url": scene.url}
        settings = AzureOpenAI.Settings.model_validate({**PLACE, **application, "base_url": scene.url})
        azure = AzureOpenAI(settings, resolver(environ=scene.environ), scene.clock.moment)
        assert len(await azure.list()) == 2
        scene.environ[ADMIN] = secrets.token_hex(16)
        with pytest.raises(DeniedError, match="Entra"):
            await azure.list()
        await azure.aclose()

    async def test_an_account_that_takes_no_keys_is_found_out_before_anything_is_made(self, scene: Scene) -> None:
        assert [finding for finding in await scene.provider.preflight() if finding.ok is not True] == []
        scene.vendor.local_auth_disabled = True  # type: ignore[attr-defined]
        (finding,) = [finding for finding in await scene.provider.preflight() if finding.ok is False]
        assert "disableLocalAuth" in finding.detail

    async def test_the_other_key_has_to_be_given_to_keyturn_in_words(self, scene: Scene) -> None:
        settings = AzureOpenAI.Settings.model_validate({**self.settings(scene.url), "owns_both_keys": False})
        azure = AzureOpenAI(settings, resolver(environ=scene.environ), scene.clock.moment)
        (finding,) = [finding for finding in await azure.preflight() if finding.ok is False]
        assert "owns_both_keys" in finding.remedy
        await azure.aclose()

    @pytest.mark.parametrize("login", [{}, {"tenant": "a", "client_id": "b"}, {"access_token": "env:A", "tenant": "a"}])
    def test_half_a_login_is_refused(self, login: Mapping[str, str]) -> None:
        with pytest.raises(ValidationError, match="either access_token"):
            AzureOpenAI.Settings.model_validate({**PLACE, **login})
