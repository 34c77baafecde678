"""The double of ECS, by boto3: how it rolls, gives up, goes back and stops; and that it speaks as botocore describes ECS."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from keyturn.testing.ecs_double import ECSDouble
from keyturn.testing.ecs_lives import MemoryLives
from tests.fleets.ecs_scene import client_of, definition

CLUSTER, SERVICE = "litellm", "gateway"


class Scene:
    def __init__(self) -> None:
        self.value = "one"
        self.lives = MemoryLives(lambda: self.value)
        self.double = ECSDouble(self.lives)
        self.boto = client_of(self.double.start())
        self.boto.register_task_definition(**definition())

    def create(self, desired: int = 2, least: int = 100, most: int = 200, **breaker: bool) -> None:
        configuration: dict[str, Any] = {"minimumHealthyPercent": least, "maximumPercent": most}
        if breaker:
            configuration["deploymentCircuitBreaker"] = {"rollback": False, **breaker}
        self.boto.create_service(
            cluster=CLUSTER,
            serviceName=SERVICE,
            taskDefinition="litellm",
            desiredCount=desired,
            deploymentConfiguration=configuration,
        )
        self.double.forward(60)

    def force(self) -> None:
        self.boto.update_service(cluster=CLUSTER, service=SERVICE, forceNewDeployment=True)

    def service(self) -> Any:
        return self.boto.describe_services(cluster=CLUSTER, services=[SERVICE], include=["TAGS"])["services"][0]

    def tasks(self, status: str = "RUNNING") -> list[Any]:
        pages = self.boto.get_paginator("list_tasks").paginate(cluster=CLUSTER, serviceName=SERVICE, desiredStatus=status)
        arns = [arn for page in pages for arn in page["taskArns"]]
        return list(self.boto.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"]) if arns else []

    def counts(self, seconds: int) -> Iterator[tuple[int, int]]:
        """Second by second: tasks that are up, and tasks that count towards the most there may be."""
        for _ in range(seconds):
            self.double.forward(1)
            live = self.double.scheduler.live(SERVICE)
            yield sum(task.status == "RUNNING" and task.was_healthy for task in live), sum(task.counts for task in live)


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.double.stop()


def until(scene: Scene, happened: Callable[[], bool]) -> None:
    for _ in range(200):
        if happened():
            return
        scene.double.forward(1)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize(
    ("desired", "least", "most", "fewest", "highest"),
    [(2, 100, 200, 2, 4), (4, 50, 100, 2, 4), (4, 100, 125, 4, 5), (3, 34, 150, 2, 4), (2, 0, 100, 0, 2)],
)
def test_a_rolling_deployment_keeps_between_its_percentages(
    scene: Scene, desired: int, least: int, most: int, fewest: int, highest: int
) -> None:
    scene.create(desired, least, most)
    assert scene.service()["deployments"][0]["rolloutState"] == "COMPLETED"
    scene.force()
    seen = list(scene.counts(200))
    # A task that was told to stop serves on, so what is up counts it too until it has ended.
    assert (min(up for up, _ in seen), max(count for _, count in seen)) == (fewest, highest)
    (deployment,) = scene.service()["deployments"]
    assert (deployment["status"], deployment["rolloutState"]) == ("PRIMARY", "COMPLETED")
    assert {task["startedBy"] for task in scene.tasks()} == {deployment["id"]}


def test_a_task_goes_through_its_life(scene: Scene) -> None:
    scene.create(1)
    scene.force()
    seen: list[str] = []
    before = {task["taskArn"] for task in scene.tasks()}
    for _ in range(60):
        scene.double.forward(1)
        seen += [task.status for task in scene.double.scheduler.tasks if task.arn in before]
    states = ["RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"]
    assert [name for name, _ in itertools.groupby(seen)] == states
    (new,) = scene.tasks()
    assert new["createdAt"] < new["startedAt"]
    assert [detail["name"] for detail in new["attachments"][0]["details"]] == ["privateIPv4Address"]
    (old,) = scene.tasks("STOPPED")
    assert (old["lastStatus"], old["stopCode"]) == ("STOPPED", "ServiceSchedulerInitiated")


def test_a_task_that_does_not_end_is_killed_after_its_stop_timeout(scene: Scene) -> None:
    scene.create(1)
    scene.lives.holds = True
    (task,) = scene.tasks()
    scene.boto.stop_task(cluster=CLUSTER, task=task["taskArn"])
    scene.double.forward(110)
    assert not scene.lives.killed
    assert scene.tasks("STOPPED")[0]["lastStatus"] == "STOPPING"
    scene.double.forward(30)
    assert scene.lives.killed == [task["taskArn"].rpartition("/")[2]]
    assert scene.tasks("STOPPED")[0]["lastStatus"] == "STOPPED"


def test_the_scheduler_waits_for_the_target_group_before_a_task_is_told_to_end_and_stop_task_does_not(scene: Scene) -> None:
    scene.create(1)
    scene.double.scheduler.deregistration_delay = 40
    scene.force()
    until(scene, lambda: scene.double.scheduler.tasks[0].status == "DEACTIVATING")
    scene.double.forward(35)
    assert scene.lives.ended == set()
    scene.double.forward(10)
    assert scene.lives.ended == {scene.double.scheduler.tasks[0].name}
    (new,) = scene.tasks()
    scene.boto.stop_task(cluster=CLUSTER, task=new["taskArn"])
    scene.double.forward(2)
    assert new["taskArn"].rpartition("/")[2] in scene.lives.ended


def test_a_task_that_was_ready_is_not_stopped_for_a_look_that_fails_and_is_for_a_minute_of_them(scene: Scene) -> None:
    scene.create(1)
    scene.double.forward(300)
    (task,) = scene.tasks()
    scene.lives.never_ready.add("one")
    scene.double.forward(55)
    scene.lives.never_ready.clear()
    scene.double.forward(2)
    assert [each["taskArn"] for each in scene.tasks()] == [task["taskArn"]]
    scene.lives.never_ready.add("one")
    scene.double.forward(62)
    assert scene.tasks("STOPPED")[0]["taskArn"] == task["taskArn"]


def test_a_secret_is_read_when_a_task_is_started_and_never_again(scene: Scene) -> None:
    scene.create(1)
    scene.value = "two"
    scene.double.forward(100)
    assert set(scene.lives.loaded.values()) == {"one"}
    scene.force()
    scene.double.forward(100)
    assert scene.lives.loaded[scene.tasks()[0]["taskArn"].rpartition("/")[2]] == "two"


def test_the_circuit_breaker_gives_up_after_three_failures_and_starts_no_more(scene: Scene) -> None:
    scene.create(2, enable=True)
    scene.value = "bad"
    scene.lives.ends.add("bad")
    scene.force()
    scene.double.forward(300)
    primary, before = scene.service()["deployments"]
    assert (primary["rolloutState"], primary["failedTasks"]) == ("FAILED", 4)
    assert (before["status"], before["runningCount"]) == ("ACTIVE", 2)
    assert len(scene.double.scheduler.tasks) == 6  # what was there, and what failed: no more


def test_going_back_is_a_new_deployment_that_takes_over_the_tasks_that_ran(scene: Scene) -> None:
    scene.create(2, enable=True, rollback=True)
    kept = {task["taskArn"] for task in scene.tasks()}
    first = scene.service()["deployments"][0]["id"]
    scene.value = "bad"
    scene.lives.never_ready.add("bad")
    scene.force()
    forced = scene.service()["deployments"][0]["id"]
    scene.double.forward(400)
    (primary,) = scene.service()["deployments"]
    assert primary["id"] not in (first, forced)
    assert primary["rolloutStateReason"].endswith(f"rolling back to deploymentId {first}.")
    assert {task["taskArn"] for task in scene.tasks()} == kept
    assert {task["startedBy"] for task in scene.tasks()} == {first}


def test_tags_are_as_aws_takes_them(scene: Scene) -> None:
    scene.create(1)
    arn = scene.service()["serviceArn"]
    scene.boto.tag_resource(resourceArn=arn, tags=[{"key": "keyturn:a", "value": "b.1 ecs-svc/1 2026-01-01T00:00:00Z"}])
    assert scene.boto.list_tags_for_resource(resourceArn=arn)["tags"][0]["key"] == "keyturn:a"
    for key, value in (("a", "x" * 257), ("a", "#"), ("aws:a", "")):
        with pytest.raises(ClientError):
            scene.boto.tag_resource(resourceArn=arn, tags=[{"key": key, "value": value}])
    with pytest.raises(ClientError, match="LimitExceeded"):
        scene.boto.tag_resource(resourceArn=arn, tags=[{"key": f"k{n}", "value": ""} for n in range(50)])
    with pytest.raises(ClientError, match="Long arn"):
        scene.boto.tag_resource(resourceArn=arn.replace(f"{CLUSTER}/", ""), tags=[{"key": "a", "value": ""}])


def test_what_is_not_a_request_of_ecs_is_refused_and_what_is_no_answer_of_it_is_our_fault(scene: Scene) -> None:
    scene.create(1)
    status, _ = scene.double.answer("UpdateService", {"service": SERVICE, "force": True})
    assert status == 400
    scene.double.scheduler.services[SERVICE].settings["noSuchField"] = 1
    with pytest.raises(AssertionError, match="noSuchField"):
        scene.double.answer("DescribeServices", {"cluster": CLUSTER, "services": [SERVICE]})
