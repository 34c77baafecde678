"""The least policy for ECS: what a roll and its proof call, and nothing else; and where each action may be used."""

from __future__ import annotations

import pytest

from keyturn.errors import MisconfiguredError
from keyturn.fleets.ecs_policy import statements
from keyturn.fleets.ecs_settings import ECSSettings
from keyturn.testing.world import World
from tests.fleets.ecs_scene import CREDENTIAL, SERVICE, scene_of
from tests.fleets.test_ecs_preflight import SETTINGS


async def test_a_roll_takes_these_actions_and_no_other() -> None:
    with scene_of(await World.make()) as scene:
        fleet = scene.fleet()
        scene.double.calls.clear()
        await fleet.preflight(CREDENTIAL)
        scene.put("sk-" + "a" * 8)
        await scene.replace(fleet)
        assert await fleet.was_rolled(SERVICE, CREDENTIAL, scene.rollout())
        for member in await fleet.members():
            await fleet.serving(member, CREDENTIAL)
        given = statements([ECSSettings.model_validate(SETTINGS)], "123456789012")
        allowed = {action.removeprefix("ecs:") for each in given for action in each["Action"]}
        assert allowed == set(scene.double.calls)


def test_actions_are_for_these_services_and_tags_alone() -> None:
    given = {each["Sid"]: each for each in statements([ECSSettings.model_validate(SETTINGS)], "123456789012")}
    service = "arn:aws:ecs:us-east-1:123456789012:service/litellm/gateway"
    assert given["RollTheServices"]["Resource"] == given["NameTheRoll"]["Resource"] == [service]
    assert given["NameTheRoll"]["Condition"]["ForAllValues:StringLike"] == {"aws:TagKeys": ["keyturn:*"]}
    assert given["SeeTheirTasks"]["Resource"] == ["arn:aws:ecs:us-east-1:123456789012:task/litellm/*"]
    cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/litellm"
    assert given["FindTheirTasks"]["Condition"] == {"ArnEquals": {"ecs:cluster": [cluster]}}


def test_the_account_is_that_of_the_cluster_or_of_the_role() -> None:
    arn = "arn:aws-cn:ecs:us-east-1:210987654321:cluster/litellm"
    (first, *_) = statements([ECSSettings.model_validate({**SETTINGS, "cluster": arn})], None)
    assert first["Resource"] == ["arn:aws-cn:ecs:us-east-1:210987654321:service/litellm/gateway"]
    with pytest.raises(MisconfiguredError, match="account of the cluster litellm"):
        statements([ECSSettings.model_validate(SETTINGS)], None)
