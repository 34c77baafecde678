"""Whatever answers in the place of ECS: a value that makes sense, or an error of ours; and no task is believed for it."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import KeyturnError
from keyturn.fleets.ecs import ECSFleet
from keyturn.fleets.ecs_settings import ECSSettings
from keyturn.model import Member, VersionRef
from keyturn.quiet import hold_vendor_loggers
from keyturn.references import resolver
from tests.fleets.ecs_scene import CREDENTIAL, SECRET, SERVICE, definition, nothing
from tests.fleets.test_ecs_preflight import SETTINGS
from tests.hostile import Answer, answers, fuzz, quietly, said
from tests.wire import Request, Wire

ACCESS = "access-" + secrets.token_hex(16)
ROLLOUT = "0123456789abcdef.20260101T000000Z"
OWN = "arn:aws:ecs:us-east-1:123456789012"
TASK = f"{OWN}:task/litellm/1"
DEPLOYMENT = {
    "id": "ecs-svc/2",
    "status": "PRIMARY",
    "taskDefinition": f"{OWN}:task-definition/litellm:1",
    "createdAt": 1.8e9,
    "desiredCount": 1,
    "runningCount": 1,
    "pendingCount": 0,
    "failedTasks": 0,
    "rolloutState": "COMPLETED",
}
DESCRIBED = {
    "serviceName": SERVICE,
    "serviceArn": f"{OWN}:service/litellm/{SERVICE}",
    "status": "ACTIVE",
    "desiredCount": 1,
    "deployments": [DEPLOYMENT],
    "tags": [{"key": f"keyturn:{CREDENTIAL}", "value": f"{ROLLOUT} ecs-svc/1 2026-01-01T00:00:00Z"}],
}
ADDRESS = {"type": "ElasticNetworkInterface", "details": [{"name": "privateIPv4Address", "value": "127.0.0.9"}]}
TOLD = {
    "taskArn": TASK,
    "lastStatus": "RUNNING",
    "desiredStatus": "RUNNING",
    "createdAt": 1.8e9,
    "healthStatus": "HEALTHY",
    "attachments": [ADDRESS],
}
PROPER: dict[str, Any] = {
    "DescribeServices": {"services": [DESCRIBED], "failures": []},
    "ListTasks": {"taskArns": [TASK]},
    "DescribeTasks": {"tasks": [TOLD], "failures": []},
    "DescribeTaskDefinition": {"taskDefinition": definition()},
    "TagResource": {},
    "UpdateService": {"service": DESCRIBED},
}
MARKS = (
    ("content-type", "application/x-amz-json-1.1"),
    ("x-amzn-requestid", "1"),
    ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
)
VERSION, MEMBER = VersionRef("", "0123456789abcdef"), Member(f"{SERVICE}/1", "http://127.0.0.9:4000", TASK)

VERBS: dict[str, Callable[[ECSFleet], Coroutine[Any, Any, Any]]] = {
    "members": lambda fleet: fleet.members(),
    "serving": lambda fleet: fleet.serving(MEMBER, CREDENTIAL),
    "was_rolled": lambda fleet: fleet.was_rolled(SERVICE, CREDENTIAL, ROLLOUT),
    "preflight": lambda fleet: fleet.preflight(CREDENTIAL),
    "replace": lambda fleet: fleet.replace(SERVICE, CREDENTIAL, VERSION, ROLLOUT, nothing),
    "begin": lambda fleet: fleet.replace(SERVICE, CREDENTIAL, VERSION, ROLLOUT + "1", nothing),
}


class Server:
    """An ECS with one service that answers properly but for what it is told otherwise."""

    def __init__(self, wire: Wire, runner: asyncio.Runner) -> None:
        self.wire, self._runner = wire, runner

    def fleet(self) -> ECSFleet:
        more = {"endpoint_url": self.wire.url, "access_key_id": "env:ACCESS", "secret_access_key": "env:ACCESS"}
        settings = {**SETTINGS, **more, "check_permissions": False, "roll_timeout": "1s", "timeout": "5s"}
        ticks = itertools.count()

        async def pause(seconds: float) -> None:
            """It is over."""

        async def ready(member: Member) -> bool:
            return True

        return ECSFleet(
            ECSSettings.model_validate(settings),
            resolver(environ={"ACCESS": ACCESS}),
            lambda _: [SECRET],
            pause,
            lambda: next(ticks),
            ready,
        )

    def get(self, fleet: ECSFleet, verb: str, place: str, answer: Answer | None) -> Any:
        def answered(request: Request) -> bytes:
            operation = request.headers.partition("ServiceV20141113.")[2].partition("\r\n")[0]
            if answer is not None and place == operation:
                return answer.raw
            return replace(said(json.loads(json.dumps(PROPER[operation]))), headers=MARKS).raw

        self.wire.answer = answered
        return quietly(partial(self._runner.run, VERBS[verb](fleet)), answer.key if answer else "", ACCESS)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    hold_vendor_loggers()
    with asyncio.Runner() as runner, Wire(lambda request: b"") as wire:
        yield Server(wire, runner)


@pytest.fixture(scope="module")
def fleet(server: Server) -> ECSFleet:
    return server.fleet()


def test_what_answers_properly_is_believed(server: Server, fleet: ECSFleet) -> None:
    assert server.get(fleet, "members", "", None) == [MEMBER]
    assert server.get(fleet, "serving", "", None) == VERSION
    assert server.get(fleet, "was_rolled", "", None) is True
    assert server.get(fleet, "replace", "", None) is None


@fuzz(150)
@given(st.sampled_from(sorted(VERBS)), st.sampled_from(sorted(PROPER)), st.data())
def test_a_verb_gives_what_makes_sense_or_an_error_in_our_words(
    server: Server, fleet: ECSFleet, verb: str, place: str, data: st.DataObject
) -> None:
    golden = PROPER[place] if data.draw(st.integers(0, 3)) else {"__type": "ServerException", "message": "no"}
    fleet._cluster._definitions.clear()
    found = server.get(fleet, verb, place, data.draw(answers(golden, 200 if golden is PROPER[place] else 500)))
    if isinstance(found, KeyturnError):
        return
    match verb:
        case "members":
            assert all(IPv4Address(urlsplit(member.url).hostname or "") and member.control for member in found)
        case "serving":
            assert found is None or isinstance(found, VersionRef)
        case "was_rolled":
            assert found in (True, False)
        case "replace" | "begin":
            assert found is None
