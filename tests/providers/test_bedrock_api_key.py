"""Bedrock API keys: the suite, and boto3 at the simulator."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.material import KeyMaterial
from keyturn.model import Verdict
from keyturn.providers.bedrock_api_key import BedrockApiKey
from keyturn.testing.in_place_suite import InPlaceSuite
from keyturn.testing.provider_scene import Scene, new_label
from keyturn.testing.vendors.bedrock_api_key import BedrockSimulator
from tests.providers.aws_user import ADMIN_ID, IamUserScene, IamUserSuite
from tests.providers.sdk import drive


class TestBedrockApiKey(IamUserSuite):
    PROVIDER, SIMULATOR = BedrockApiKey, BedrockSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        return {**super().settings(url), "bedrock_endpoint_url": url}

    @pytest.mark.real
    async def test_boto3_does_a_life_of_a_key(self, scene: Scene) -> None:
        own = scene.environ[ADMIN_ID]
        told = await drive(scene, "bedrock_api_key", python=Path(sys.executable), ADMIN_ID=own)
        before, key, *_ = scene.vendor.keys.values()
        assert KeyMaterial(told["before"]).fingerprint() == before.fingerprint
        assert (told["id"], KeyMaterial(told["text"]).fingerprint()) == (key.id, key.fingerprint)
        assert told["may"] == ["allowed", [True]]
        assert told["reset"] == [403, key.id]
        assert told["first"] == [1, [[key.id, "Active"]]]
        assert told["second"] == [403, [[key.id, "Inactive"]]]
        assert told["refusals"] == ["NoSuchEntity", "LimitExceeded"]
        assert (told["tags"], told["left"]) == ([{"Key": key.id, "Value": "from the SDK"}], [])

    async def test_a_lifetime_is_whole_days_and_never_shorter_than_asked(self, scene: Scene) -> None:
        for asked, days in ((timedelta(minutes=1), 1), (timedelta(days=1, seconds=1), 2)):
            created = await scene.provider.create(new_label(), asked)
            assert created.ref.expires_at == scene.clock.moment() + timedelta(days=days)

    async def test_an_inactive_key_is_refused_and_accepted_again(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        await scene.provider.disable(created.ref)
        assert (await scene.provider.check(created.material)).verdict is Verdict.REJECTED
        await scene.provider.enable(created.ref)
        assert (await scene.provider.check(created.material)).verdict is Verdict.ACCEPTED


class TestBedrockApiKeyInPlace(IamUserScene, InPlaceSuite):
    PROVIDER, SIMULATOR, TURN, ENDS = BedrockApiKey, BedrockSimulator, "reset_key", "never"

    def settings(self, url: str) -> Mapping[str, Any]:
        return {**super().settings(url), "bedrock_endpoint_url": url, "in_place": "without_overlap"}
