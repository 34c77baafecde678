"""The gate on the wire, between real clients and real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import boto3
import botocore.exceptions
import httpx
import hvac
import pytest
import requests
import websockets
from botocore.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from keyturn.testing.aws_double import AWSDouble
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.wire import Exchange, Gate, Onlooker, shape
from keyturn.testing.wire_faults import (
    HUGE,
    Blackhole,
    Fault,
    Half,
    Hostile,
    Reset,
    Slow,
    Truncated,
    hostile,
    refused,
)

DONE: list[str] = []  # the paths that reached the server


async def _echo(request: Request) -> Response:
    DONE.append(request.url.path)
    told = {"path": str(request.url), "host": request.headers["host"], "body": (await request.body()).decode()}
    return JSONResponse({"data": told}, headers={"X-Told": "yes"})


async def _chunks(request: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        for number in range(3):
            yield f"part {number};"

    return StreamingResponse(parts())


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    routes = [Route("/chunks", _chunks), Route("/{path:path}", _echo, methods=["GET", "POST", "PATCH", "DELETE"])]
    with LoopbackServer(Starlette(routes=routes)) as running:
        yield running.url


@pytest.fixture(scope="module")
def double() -> Iterator[tuple[AWSDouble, str]]:
    running = AWSDouble()
    yield running, running.start()
    running.stop()


class Sentry(Onlooker):
    """`faults`: what becomes of which exchange, by its text; `holds`: awaited on both sides of it."""

    def __init__(self, **faults: Fault) -> None:
        super().__init__()
        self.faults: dict[str, Fault] = dict(faults)
        self.holds: Callable[[str], Awaitable[None]] | None = None
        self.done: list[str] = []
        self.ended: list[str] = []
        self.arrived, self.finished = asyncio.Event(), asyncio.Event()

    async def before(self, exchange: Exchange) -> Fault | None:
        await super().before(exchange)
        self.arrived.set()
        if self.holds:
            await self.holds(f"before {exchange}")
        return self.faults.get(str(exchange))

    async def after(self, exchange: Exchange, status: int) -> None:
        if self.holds:
            await self.holds(f"after {exchange}")
        self.done.append(f"{exchange} {status}")
        self.finished.set()

    async def over(self, exchange: Exchange) -> None:
        if self.holds:
            await self.holds(f"over {exchange}")
        self.ended.append(str(exchange))

    @property
    def names(self) -> list[str]:
        return [str(exchange) for exchange in self.seen]


@pytest.fixture
async def gate(server: str) -> AsyncIterator[tuple[Gate, Sentry]]:
    DONE.clear()
    sentry = Sentry()
    async with Gate({"part": server}, sentry) as opened:
        yield opened, sentry


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as made:
        yield made


Opened = tuple[Gate, Sentry]


async def test_a_request_and_its_answer_pass_unchanged(gate: Opened, client: httpx.AsyncClient) -> None:
    opened, sentry = gate
    answer = await client.post(f"{opened.url('part')}/v1/things?page=2", content=b"a body", headers={"Host": "its.own:81"})
    assert answer.status_code == 200 and answer.headers["x-told"] == "yes"
    assert answer.json()["data"] == {"path": "http://its.own:81/v1/things?page=2", "host": "its.own:81", "body": "a body"}
    assert sentry.done == ["part POST /v1/things #1 200"]


async def test_exchanges_are_counted_by_name_on_kept_connections(gate: Opened, client: httpx.AsyncClient) -> None:
    opened, sentry = gate
    for path in ("/a/11", "/a/12", "/b", "/a/13"):
        await client.get(opened.url("part") + path)
    assert sentry.names == ["part GET /a/* #1", "part GET /a/* #2", "part GET /b #1", "part GET /a/* #3"]
    assert [exchange.number for exchange in sentry.seen] == [1, 2, 3, 4]
    assert all(exchange.reads for exchange in sentry.seen)


async def test_a_chunked_answer_arrives_whole(gate: Opened, client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{gate[0].url('part')}/chunks")).text == "part 0;part 1;part 2;"


@pytest.mark.parametrize(
    ("path", "shaped"),
    [
        (
            "/v1/organization/projects/proj_demo/api_keys/key_000005a229d4",
            "/v1/organization/projects/proj_demo/api_keys/key_*",
        ),
        ("/v1/p/x/service_accounts/svc_acct_000031ab12cd", "/v1/p/x/service_accounts/svc_acct_*"),
        ("/v2/orgs/org_1/tokens/key_000005a229d4:suspend", "/v2/orgs/org_1/tokens/key_*:suspend"),
        ("/api/flow_runs/0c9dbb0e-4ad9-4b84-9d1e-1f2c3b4a5d6e/set_state", "/api/flow_runs/*/set_state"),
        (
            "/v1/secret/data/keyturn/litellm/providers/OPENAI_API_KEY",
            "/v1/secret/data/keyturn/litellm/providers/OPENAI_API_KEY",
        ),
        ("/api/v2/concurrency_limits/keyturn-openai", "/api/v2/concurrency_limits/keyturn-openai"),
        ("/blobs/9f86d081884c7d65", "/blobs/*"),
    ],
)
def test_the_shape_of_a_path_is_the_same_in_each_run(path: str, shaped: str) -> None:
    assert shape(path) == shaped


@pytest.mark.parametrize(
    ("call", "reads"),
    [
        ("POST /subscriptions/*/accounts/a/listKeys", True),
        ("POST /subscriptions/*/accounts/a/regenerateKey", False),
        ("POST /v1/listing", False),
        ("GETTER", False),
        ("ListUserTags", True),
        ("TagUser", False),
        ("GET /v1/database/creds/litellm", False),
        ("POST /v1/sys/leases/lookup", True),
        ("POST /v1/sys/leases/revoke", False),
        ("LIST /v1/sys/leases/lookup/database/creds/litellm", True),
    ],
)
def test_what_changes_nothing_is_told_from_what_does(call: str, reads: bool) -> None:
    assert Exchange("part", call, 1, 1).reads is reads


async def test_both_sides_of_an_exchange_can_be_held(gate: Opened, client: httpx.AsyncClient) -> None:
    opened, sentry = gate
    held: asyncio.Queue[str] = asyncio.Queue()
    go = asyncio.Semaphore(0)

    async def hold(where: str) -> None:
        held.put_nowait(where)
        await go.acquire()

    sentry.holds = hold
    asked = asyncio.ensure_future(client.post(f"{opened.url('part')}/x"))
    assert await held.get() == "before part POST /x #1"
    assert DONE == [] and not asked.done()
    go.release()
    assert await held.get() == "after part POST /x #1"
    assert DONE == ["/x"] and not asked.done()
    go.release()
    assert (await asked).status_code == 200


async def test_reset_and_half_look_the_same_to_the_client_and_differ_in_what_is_done(
    gate: Opened, client: httpx.AsyncClient
) -> None:
    opened, sentry = gate
    sentry.faults = {"part POST /reset #1": Reset(), "part POST /half #1": Half()}
    for path in ("/reset", "/half"):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await client.post(opened.url("part") + path)
    assert DONE == ["/half"]
    assert sentry.done == ["part POST /half #1 200"]
    assert (await client.post(f"{opened.url('part')}/reset")).status_code == 200, "the second of its name passes"


async def test_a_blackhole_lasts_until_the_client_leaves(gate: Opened, client: httpx.AsyncClient) -> None:
    opened, sentry = gate
    sentry.faults = {"part GET /x #1": Blackhole()}
    with pytest.raises(httpx.ReadTimeout):
        await client.get(f"{opened.url('part')}/x", timeout=0.1)
    assert DONE == []


async def test_a_blackhole_ends_with_the_gate(server: str, client: httpx.AsyncClient) -> None:
    async with Gate({"part": server}, sentry := Sentry(**{"part GET /x #1": Blackhole()})) as opened:
        asked = asyncio.ensure_future(client.get(f"{opened.url('part')}/x"))
        await sentry.arrived.wait()
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await asked


async def test_what_is_slow_arrives_after_the_client_has_given_up(gate: Opened, client: httpx.AsyncClient) -> None:
    opened, sentry = gate
    sentry.faults = {"part POST /x #1": Slow(0.2)}
    with pytest.raises(httpx.ReadTimeout):
        await client.post(f"{opened.url('part')}/x", timeout=0.05)
    assert DONE == []
    await sentry.finished.wait()
    assert DONE == ["/x"]


@pytest.mark.parametrize("fault", [None, refused(500, {})], ids=["its answer", "another"])
async def test_an_exchange_is_over_when_its_answer_can_be_read(
    fault: Fault | None, gate: Opened, client: httpx.AsyncClient
) -> None:
    opened, sentry = gate
    told = asyncio.Event()

    async def hold(where: str) -> None:
        if where.startswith("over"):
            await told.wait()

    sentry.holds = hold
    sentry.faults = {"part POST /x #1": fault} if fault else {}
    answer = await client.post(f"{opened.url('part')}/x")
    assert answer.status_code == (500 if fault else 200) and sentry.ended == []
    told.set()
    await client.post(f"{opened.url('part')}/x")
    assert sentry.ended[0] == "part POST /x #1"


async def test_another_answer_instead_of_the_servers(gate: Opened, client: httpx.AsyncClient) -> None:
    opened, sentry = gate
    sentry.faults["part GET /x #1"] = refused(429, {"error": "slower"}, Retry_After="7")
    answer = await client.get(f"{opened.url('part')}/x")
    assert (answer.status_code, answer.headers["retry-after"], answer.json()) == (429, "7", {"error": "slower"})
    assert DONE == []
    assert (await client.get(f"{opened.url('part')}/x")).status_code == 200, "on the same connection"


@pytest.mark.parametrize("kind", Hostile)
async def test_hostile_bodies_are_answers_with_a_200(kind: Hostile, gate: Opened, client: httpx.AsyncClient) -> None:
    opened, sentry = gate
    sentry.faults = {"part POST /x #1": hostile(kind), "part POST /x #2": hostile(kind, done=True)}
    for done in ([], ["/x"]):
        answer = await client.post(f"{opened.url('part')}/x")
        assert answer.status_code == 200
        assert done == DONE
        looks = {"html": "<html>", "wrong types": '{"data": 0', "deep": "[[[[", "huge": '{"data": "xxx', "empty": ""}
        assert answer.text.startswith(looks.get(kind, ""))
        assert len(answer.content) > HUGE or kind is not Hostile.HUGE


async def test_a_truncated_answer_is_done_and_half_told(gate: Opened, client: httpx.AsyncClient) -> None:
    opened, sentry = gate
    sentry.faults["part POST /x #1"] = Truncated()
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        await client.post(f"{opened.url('part')}/x")
    assert DONE == ["/x"]


async def test_a_part_that_refuses_cuts_what_is_connected_and_comes_back_at_the_same_address(
    gate: Opened, client: httpx.AsyncClient
) -> None:
    opened, sentry = gate
    await client.get(f"{opened.url('part')}/kept")  # an idle connection
    arrived = asyncio.Event()

    async def hold(where: str) -> None:
        if where.startswith("before part POST"):
            opened.refuse("part")
            arrived.set()

    sentry.holds = hold
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await client.post(f"{opened.url('part')}/held")
    assert arrived.is_set() and DONE == ["/kept"], "what was held never arrives"
    with pytest.raises(httpx.ConnectError):
        await client.get(f"{opened.url('part')}/x")
    await opened.accept("part")
    assert (await client.get(f"{opened.url('part')}/x")).status_code == 200


async def test_a_server_that_is_down_is_a_reset(client: httpx.AsyncClient, unused_tcp_port: int) -> None:
    async with Gate({"part": f"http://127.0.0.1:{unused_tcp_port}"}, sentry := Sentry()) as opened:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await client.get(f"{opened.url('part')}/x")
    assert sentry.done == []


async def test_boto3_signs_for_the_gate_and_its_calls_bear_the_operations_names(double: tuple[AWSDouble, str]) -> None:
    running, url = double
    running.heal()
    sentry = Sentry(**{"aws PutSecretValue #1": Half()})
    async with Gate({"aws": url}, sentry) as opened:
        # The retry of botocore itself is what meets the half call: its token makes it a no-op.
        client = boto3.client(
            "secretsmanager",
            endpoint_url=opened.url("aws"),
            region_name="us-east-1",
            aws_access_key_id="gate",
            aws_secret_access_key="gate",
            config=Config(retries={"mode": "standard", "total_max_attempts": 2}),
        )

        def use() -> str:
            name = client.create_secret(Name="wire", SecretString="first")["Name"]
            client.put_secret_value(SecretId=name, SecretString="second")
            return str(client.get_secret_value(SecretId=name)["SecretString"])

        assert await asyncio.to_thread(use) == "second"
        sts = boto3.client(
            "sts",
            endpoint_url=opened.url("aws"),
            region_name="us-east-1",
            aws_access_key_id="gate",
            aws_secret_access_key="gate",
        )
        await asyncio.to_thread(sts.get_caller_identity)
        sentry.faults["aws DescribeSecret #1"] = refused(400, {"__type": "ExpiredTokenException", "message": "expired"})
        with pytest.raises(botocore.exceptions.ClientError, match="ExpiredTokenException"):
            await asyncio.to_thread(client.describe_secret, SecretId="wire")
    calls = [(exchange.call, exchange.nth, exchange.reads) for exchange in sentry.seen]
    assert calls == [
        ("CreateSecret", 1, False),
        ("PutSecretValue", 1, False),
        ("PutSecretValue", 2, False),
        ("GetSecretValue", 1, True),
        ("GetCallerIdentity", 1, True),
        ("DescribeSecret", 1, True),
    ]


async def test_hvac_speaks_through_the_gate(gate: Opened) -> None:
    opened, sentry = gate
    session = requests.Session()
    session.trust_env = False
    vault: Any = hvac.Client(url=opened.url("part"), token="t", session=session)
    read = await asyncio.to_thread(vault.read, "secret/data/litellm/providers")
    assert read["data"]["host"] == opened.url("part").removeprefix("http://")
    sentry.faults["part GET /v1/secret/data/litellm/providers #2"] = refused(403, {"errors": ["permission denied"]})
    with pytest.raises(hvac.exceptions.Forbidden):
        await asyncio.to_thread(vault.read, "secret/data/litellm/providers")
    sentry.faults["part POST /v1/secret/data/x #1"] = Truncated()
    with pytest.raises(requests.exceptions.RequestException):
        await asyncio.to_thread(vault.write_data, "secret/data/x", data={"a": "b"})
    assert "/v1/secret/data/x" in DONE


async def test_a_websocket_is_one_exchange_and_then_a_tunnel() -> None:
    async def talk(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(f"heard {message!r}")

    async with websockets.serve(talk, "127.0.0.1", 0) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        async with Gate({"prefect": f"http://127.0.0.1:{port}"}, sentry := Sentry()) as opened:
            address = opened.url("prefect").replace("http", "ws") + "/api/events/in"
            async with websockets.connect(address, proxy=None) as connection:
                for message in ("one", "two"):
                    await connection.send(message)
                    assert await connection.recv() == f"heard {message!r}"
                assert sentry.ended == ["prefect GET /api/events/in #1"], "the exchange is over, the tunnel is not"
            sentry.faults["prefect GET /api/events/in #2"] = Reset()
            with pytest.raises((OSError, websockets.InvalidHandshake, websockets.ConnectionClosed)):
                async with websockets.connect(address, proxy=None):
                    pass
    assert sentry.names == ["prefect GET /api/events/in #1", "prefect GET /api/events/in #2"]
    assert sentry.done == ["prefect GET /api/events/in #1 101"]
