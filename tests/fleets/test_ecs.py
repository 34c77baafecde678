"""The fleet of kind `ecs` over the double of ECS: a service is replaced once, and believed by its tasks alone."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keyturn.errors import (
    ConflictError,
    DeniedError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    RollFailedError,
    ThrottledError,
    UnavailableError,
)
from keyturn.model import Member, VersionRef
from keyturn.ports import ProxyFleet, Replacing
from keyturn.testing.world import World
from tests.fleets.ecs_scene import CREDENTIAL, SERVICE, Scene, defaults, definition, nothing, scene_of


def text() -> str:
    return "sk-" + secrets.token_hex(24)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    with scene_of(await World.make()) as made:
        yield made
        for fleet in made.fleets:
            await fleet.aclose()


async def test_a_service_is_replaced_without_missing_a_task(scene: Scene) -> None:
    fleet: ProxyFleet = scene.fleet()
    assert isinstance(fleet, Replacing)
    (old,) = scene.served()
    scene.put(new := text())
    assert not await fleet.was_rolled(SERVICE, CREDENTIAL, scene.rollout())
    fewest = 99

    async def proved(member: Member) -> None:
        assert await fleet.serving(member, CREDENTIAL) == scene.version
        asked.append(member.name)

    def count(operation: str, body: object) -> None:
        nonlocal fewest
        tasks = scene.double.scheduler.live(SERVICE)
        fewest = min(fewest, sum(task.status == "RUNNING" and task.was_healthy for task in tasks))

    asked: list[str] = []
    scene.double.before = count
    await fleet.replace(SERVICE, CREDENTIAL, scene.version, scene.rollout(), proved)
    assert (scene.served(), scene.deployments, fewest) == ({new}, 1, 2)
    assert sorted(asked) == sorted(member.name for member in await fleet.members())
    assert await fleet.was_rolled(SERVICE, CREDENTIAL, scene.rollout())
    assert old != new


async def test_members_are_asked_at_their_own_addresses_and_stopping_ones_are_members(scene: Scene) -> None:
    fleet = scene.fleet()
    before = await fleet.members()
    assert len({member.url for member in before}) == 2
    assert all(member.url.startswith("http://127.") and member.url.endswith(":4000") for member in before)
    scene.lives.holds = True
    scene.boto.stop_task(cluster="litellm", task=before[0].control)
    scene.double.forward(10)
    assert before[0] in await fleet.members()


async def test_a_stopping_task_is_waited_for_since_it_serves_still(scene: Scene) -> None:
    scene.lives.holds = True  # its last request ends only when it is killed, after 120 s
    (old,) = scene.served()
    scene.put(text())
    fleet = scene.fleet()
    await scene.replace(fleet)
    assert old not in scene.served()
    assert scene.lives.killed


async def test_a_second_replace_of_a_rollout_only_waits(scene: Scene) -> None:
    scene.put(text())
    await scene.replace(scene.fleet())
    await scene.replace(scene.fleet())
    assert scene.deployments == 1


async def test_the_same_value_promoted_again_is_another_roll(scene: Scene) -> None:
    fleet = scene.fleet()
    await scene.replace(fleet, scene.rollout("20260101T000000Z"))
    again = scene.rollout("20260102T000000Z")
    assert not await fleet.was_rolled(SERVICE, CREDENTIAL, again)
    await scene.replace(fleet, again)
    assert scene.deployments == 2


async def test_a_task_from_before_is_never_said_to_serve_the_new_value(scene: Scene) -> None:
    """Also where its service's tag and deployment are of the roll, as after ECS has gone back by itself."""
    fleet = scene.fleet()
    scene.lives.never_ready.add(new := text())
    old = await fleet.members()
    scene.put(new)
    with pytest.raises(RollFailedError, match="given its deployment up"):
        await scene.replace(fleet)
    scene.double.forward(60)
    assert await fleet.was_rolled(SERVICE, CREDENTIAL, scene.rollout())  # what starts now reads the new value
    assert [await fleet.serving(member, CREDENTIAL) for member in old] == [None, None]
    with pytest.raises(RollFailedError, match="gone back to tasks from before"):
        await scene.replace(scene.fleet())  # by a run that does not know of the failure
    assert scene.deployments == 1


async def test_a_task_that_ecs_starts_later_serves_what_the_tag_names(scene: Scene) -> None:
    fleet = scene.fleet()
    scene.put(text())
    await scene.replace(fleet)
    scene.boto.stop_task(cluster="litellm", task=(await fleet.members())[0].control)
    scene.double.forward(60)
    assert [await fleet.serving(member, CREDENTIAL) for member in await fleet.members()] == [scene.version] * 2


async def test_tasks_that_end_are_told_in_words_of_ours(scene: Scene) -> None:
    scene.put(new := text())
    scene.lives.ends.add(new)
    with pytest.raises(RollFailedError, match="its program ended") as caught:
        await scene.replace(scene.fleet())
    assert "container" not in str(caught.value)


@pytest.mark.parametrize("rollback", [True, False])
async def test_without_a_circuit_breaker_failures_in_a_row_end_the_roll(scene: Scene, rollback: bool) -> None:
    breaker = {"enable": False, "rollback": rollback}
    scene.boto.update_service(
        cluster="litellm", service=SERVICE, deploymentConfiguration={"deploymentCircuitBreaker": breaker}
    )
    scene.put(new := text())
    scene.lives.never_ready.add(new)
    with pytest.raises(RollFailedError, match="tasks in a row have failed"):
        await scene.replace(scene.fleet())


async def test_what_takes_too_long_ends_with_what_is_left(scene: Scene) -> None:
    scene.settings = {"roll_timeout": "2m"}
    scene.double.scheduler.unhealthy_after = 100_000
    scene.put(new := text())
    scene.lives.never_ready.add(new)
    with pytest.raises(RollFailedError, match=r"not replaced after 2m \(2 tasks from before are left"):
        await scene.replace(scene.fleet())


async def test_a_new_member_that_is_refused_ends_the_roll_at_once(scene: Scene) -> None:
    async def refused(member: Member) -> None:
        raise RollFailedError("refused")

    scene.put(text())
    with pytest.raises(RollFailedError, match="refused"):
        await scene.fleet().replace(SERVICE, CREDENTIAL, scene.version, scene.rollout(), refused)


async def test_a_lost_tag_makes_the_roll_be_done_again_and_no_false_word(scene: Scene) -> None:
    fleet = scene.fleet()
    scene.put(text())
    await scene.replace(fleet)
    scene.boto.untag_resource(resourceArn=scene.service()["serviceArn"], tagKeys=[f"keyturn:{CREDENTIAL}"])
    assert not await fleet.was_rolled(SERVICE, CREDENTIAL, scene.rollout())
    assert await fleet.serving((await fleet.members())[0], CREDENTIAL) is None
    await scene.replace(fleet)
    assert scene.deployments == 2


async def test_a_tag_that_does_not_show_is_waited_for_and_nothing_is_begun_without_it(scene: Scene) -> None:
    scene.put(text())

    def take_away(operation: str, body: object) -> None:
        if operation == "TagResource":
            scene.double.scheduler.services[SERVICE].tags.clear()

    scene.double.after = take_away
    with pytest.raises(UnavailableError, match="does not show yet"):
        await scene.replace(scene.fleet())
    assert not scene.deployments


async def test_a_deployment_by_somebody_before_the_tag_is_no_roll(scene: Scene) -> None:
    """Its tasks have read the old value, and it is another one than what was noted where that was an old answer."""
    fleet = scene.fleet()
    scene.service()
    scene.boto.update_service(cluster="litellm", service=SERVICE, forceNewDeployment=True)
    scene.double.forward(3)
    scene.put(text())
    scene.double.stale = 2  # what is decided by, shows the deployment from before that
    await scene.replace(fleet)
    assert scene.deployments == 2
    assert scene.served() == {scene.lives.read()}


async def test_somebodys_later_deployment_is_as_good_as_ours(scene: Scene) -> None:
    scene.put(text())
    fleet = scene.fleet()
    deployed = False

    def deploy(operation: str, body: object) -> None:
        nonlocal deployed
        if operation == "UpdateService" and not deployed:
            deployed = True
            scene.boto.update_service(cluster="litellm", service=SERVICE, forceNewDeployment=True)

    scene.double.after = deploy
    await scene.replace(fleet)
    assert await fleet.was_rolled(SERVICE, CREDENTIAL, scene.rollout())
    assert scene.served() == {scene.lives.read()}


async def test_two_credentials_have_a_tag_each_and_roll_one_service(scene: Scene) -> None:
    fleet = scene.fleet()
    await fleet.replace(SERVICE, "one", scene.version, "a.1", nothing)
    await fleet.replace(SERVICE, "two", scene.version, "b.1", nothing)
    assert await fleet.was_rolled(SERVICE, "one", "a.1")
    member = (await fleet.members())[0]
    assert await fleet.serving(member, "one") == VersionRef("", "a")
    assert await fleet.serving(member, "two") == VersionRef("", "b")


async def test_who_is_overtaken_by_a_later_roll_says_so(scene: Scene) -> None:
    scene.put(text())
    fleet, overtaken = scene.fleet(), False

    def tag(operation: str, body: object) -> None:
        nonlocal overtaken
        if operation == "UpdateService" and not overtaken:
            overtaken = True
            key = f"keyturn:{CREDENTIAL}"
            scene.double.scheduler.services[SERVICE].tags[key] = "other.1 ecs-svc/1 2026-01-01T00:00:00Z"

    scene.double.after = tag
    with pytest.raises(ConflictError, match="another run"):
        await scene.replace(fleet)


@pytest.mark.parametrize(
    ("service", "why"),
    [
        ({"deploymentController": {"type": "CODE_DEPLOY"}}, "controller is CODE_DEPLOY"),
        ({"deploymentController": {"type": "EXTERNAL"}}, "controller is EXTERNAL"),
        ({"deploymentConfiguration": {"strategy": "BLUE_GREEN"}}, "strategy is BLUE_GREEN"),
    ],
)
async def test_what_ecs_does_not_roll_itself_is_refused_in_words(service: dict[str, Any], why: str) -> None:
    with scene_of(await World.make(), **service) as scene:
        fleet = scene.fleet()
        assert [finding.ok for finding in await fleet.preflight(CREDENTIAL) if why in finding.detail] == [False]
        with pytest.raises(RollFailedError, match=why):
            await scene.replace(fleet)
        assert not scene.deployments
        await fleet.aclose()


async def test_a_value_that_can_never_arrive_is_refused_and_never_believed(scene: Scene) -> None:
    fleet = scene.fleet()
    scene.put(text())
    await scene.replace(fleet)
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:litellm/providers-AbCdEf"
    pinned = definition(f"{arn}:OPENAI_API_KEY::0f0e0d0c-0b0a-4000-8000-000000000000")
    scene.boto.register_task_definition(**pinned)
    scene.boto.update_service(cluster="litellm", service=SERVICE, taskDefinition="litellm")
    scene.double.forward(120)
    assert not await fleet.was_rolled(SERVICE, CREDENTIAL, scene.rollout())
    assert {await fleet.serving(member, CREDENTIAL) for member in await fleet.members()} == {None}
    with pytest.raises(RollFailedError, match="one version of the secret for OPENAI_API_KEY"):
        await scene.replace(fleet)


async def test_a_service_without_tasks_is_rolled_and_told(scene: Scene) -> None:
    scene.boto.update_service(cluster="litellm", service=SERVICE, desiredCount=0)
    scene.double.forward(120)
    fleet = scene.fleet()
    assert "nothing to prove" in " ".join(finding.detail for finding in await fleet.preflight(CREDENTIAL))
    scene.put(text())
    await scene.replace(fleet)
    assert await fleet.members() == []


async def test_a_service_that_is_being_deployed_is_waited_for_by_preflight(scene: Scene) -> None:
    scene.boto.update_service(cluster="litellm", service=SERVICE, forceNewDeployment=True)
    with pytest.raises(UnavailableError, match="being deployed"):
        await scene.fleet().preflight(CREDENTIAL)


async def test_many_tasks_are_all_seen() -> None:
    with scene_of(await World.make(), desired=5, **defaults()) as scene:
        scene.double.operations.page = 2
        fleet = scene.fleet()
        assert len(await fleet.members()) == 5
        await fleet.aclose()


async def test_a_service_that_is_not_there(scene: Scene) -> None:
    scene.settings = {"services": ["nobody"]}
    with pytest.raises(NotFoundError, match="no service nobody"):
        await scene.fleet().was_rolled("nobody", CREDENTIAL, "a.1")
    scene.settings = {"cluster": "other"}
    with pytest.raises(NotFoundError):
        await scene.fleet().members()


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "AccessDeniedException", DeniedError),
        (400, "ExpiredTokenException", DeniedError),
        (400, "ThrottlingException", ThrottledError),
        (500, "ServerException", LostAnswerError),
        (400, "ServiceNotActiveException", NotFoundError),
    ],
)
async def test_refusals_are_told_in_our_words(scene: Scene, status: int, code: str, error: type[Exception]) -> None:
    scene.put(text())
    scene.double.refuse["UpdateService"] = (status, code)
    with pytest.raises(error) as caught:
        await scene.replace(scene.fleet(own_client=True))
    assert "as it was asked for" not in str(caught.value)
    assert scene.deployments == 1  # the SDK has not repeated it


async def test_aws_that_fails_now_and_then_ends_no_roll(scene: Scene) -> None:
    scene.put(text())
    calls = 0

    def fail(operation: str, body: object) -> None:
        nonlocal calls
        calls += operation == "ListTasks"
        if calls % 3 == 1:
            scene.double.refuse["ListTasks"] = (400, "ThrottlingException")
        else:
            scene.double.refuse.pop("ListTasks", None)

    scene.double.before = fail
    await scene.replace(scene.fleet())
    assert scene.deployments == 1


@pytest.mark.parametrize("address", ["127.0.0.1@elsewhere.example", "elsewhere.example", "10.0.0.1/x"])
async def test_what_is_no_address_is_not_called(scene: Scene, address: str) -> None:
    """The master key would go there."""
    scene.double.scheduler.tasks[0].address = address
    with pytest.raises(UnavailableError, match="is not ECS"):
        await scene.fleet().members()


async def test_a_task_without_an_address_of_its_own_is_refused_in_words(scene: Scene) -> None:
    for task in scene.double.scheduler.tasks:
        task.address = ""
    with pytest.raises(MisconfiguredError, match="no address of its own"):
        await scene.fleet().members()
