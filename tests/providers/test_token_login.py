"""Tokens that carry the calls: fetched once, forgotten in time, and told to nobody."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from keyturn.errors import DeniedError, KeyturnError, NotFoundError, ThrottledError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.token_login import TokenLogin, client_credentials, in_form, no_login
from keyturn.references import resolver
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.provider_scene import ADMIN, Clock, Server


class Endpoint:
    """Gives tokens away, and answers calls that bear the last of them."""

    def __init__(self) -> None:
        self.clock, self.environ = Clock(), {ADMIN: "the-credential"}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.more: dict[str, Any] = {"expires_in": 3600}
        self.answer: Callable[[], Response] | None = None
        self.refusing = False

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/token", self.token, methods=["POST"]), Route("/keys", self.keys)])

    async def token(self, request: Request) -> Response:
        self.asked.append((request.headers.get("authorization", ""), dict(parse_qsl((await request.body()).decode()))))
        if self.answer is not None:
            return self.answer()
        return JSONResponse({"access_token": f"token-{len(self.asked)}", "token_type": "bearer", **self.more})

    async def keys(self, request: Request) -> Response:
        right = request.headers["authorization"] == f"Bearer token-{len(self.asked)}"
        return JSONResponse({}, 200 if right and not self.refusing else 401)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    with LoopbackServer(server) as running:
        server.url = running.url
        yield server


@pytest.fixture
def endpoint(server: Server) -> Endpoint:
    endpoint = Endpoint()
    server.app = endpoint.app()
    return endpoint


@pytest_asyncio.fixture
async def api(server: Server, endpoint: Endpoint) -> AsyncIterator[AdminApi]:
    timeout = timedelta(seconds=10)
    tokens = AdminApi("Acme", server.url, no_login, timeout, "put in a live one")
    login = TokenLogin(
        tokens,
        "/token",
        client_credentials("us", scope="all"),
        f"env:{ADMIN}",
        resolver(environ=endpoint.environ),
        endpoint.clock.moment,
        {b"Accept": b"application/vnd.acme+json"},
    )
    api = AdminApi("Acme", server.url, login, timeout, "put in a live one")
    yield api
    await api.aclose()


async def test_one_token_serves_many_calls_until_shortly_before_its_end(api: AdminApi, endpoint: Endpoint) -> None:
    for _ in range(3):
        await api.call("GET", "/keys")
    assert len(endpoint.asked) == 1
    endpoint.clock.now += 3600 - 61
    await api.call("GET", "/keys")
    assert len(endpoint.asked) == 1
    endpoint.clock.now += 2
    await api.call("GET", "/keys")
    assert len(endpoint.asked) == 2


async def test_the_client_is_shown_as_the_standard_says(api: AdminApi, endpoint: Endpoint) -> None:
    await api.call("GET", "/keys")
    basic = b64encode(b"us:the-credential").decode()
    assert endpoint.asked == [(f"Basic {basic}", {"grant_type": "client_credentials", "scope": "all"})]


@pytest.mark.parametrize("lives", [None, 0, -5, "3600", True, 30])
async def test_a_token_of_which_no_end_is_told_serves_one_call(api: AdminApi, endpoint: Endpoint, lives: Any) -> None:
    endpoint.more = {"expires_in": lives}
    for _ in range(2):
        await api.call("GET", "/keys")
    assert len(endpoint.asked) == 2


async def test_another_credential_gets_a_token_of_its_own_at_once(api: AdminApi, endpoint: Endpoint) -> None:
    await api.call("GET", "/keys")
    endpoint.environ[ADMIN] = "another"
    await api.call("GET", "/keys")
    assert len(endpoint.asked) == 2


async def test_a_token_that_is_refused_is_not_used_again(api: AdminApi, endpoint: Endpoint) -> None:
    await api.call("GET", "/keys")
    endpoint.refusing = True
    with pytest.raises(DeniedError):
        await api.call("GET", "/keys")
    endpoint.refusing = False
    await api.call("GET", "/keys")
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: JSONResponse({"error": "invalid_client"}, 400), DeniedError),
        (lambda: JSONResponse({"error": "invalid_client"}, 401), DeniedError),
        (lambda: JSONResponse({}, 403), DeniedError),
        (lambda: JSONResponse({}, 404), NotFoundError),
        (lambda: JSONResponse({}, 429, {"retry-after": "9"}), ThrottledError),
        (lambda: JSONResponse({}, 503), UnavailableError),
        (lambda: HTMLResponse("<html></html>"), UnavailableError),
        (lambda: JSONResponse({"access_token": ""}), UnavailableError),
        (lambda: JSONResponse({"access_token": "a\nb"}), UnavailableError),
        (lambda: JSONResponse({"access_token": "x", "token_type": "mac"}), UnavailableError),
    ],
)
async def test_a_create_is_not_asked_for_without_a_token(
    api: AdminApi, endpoint: Endpoint, answer: Callable[[], Response], error: type[KeyturnError]
) -> None:
    """Nothing was made, so it is never a lost answer."""
    endpoint.answer = answer
    with pytest.raises(error) as raised:
        await api.make("/keys", lambda _: None)
    assert type(raised.value) is error
    assert raised.value.remedy if error is DeniedError else True


async def test_neither_credential_nor_token_is_told(
    api: AdminApi, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await api.call("GET", "/keys")
    endpoint.refusing = True
    endpoint.answer = lambda: JSONResponse({"error": "the-credential is bad"}, 401)
    told = []
    for _ in range(2):
        with pytest.raises(DeniedError) as raised:
            await api.call("GET", "/keys")
        told += [str(raised.value), repr(raised.value.__cause__)]
    everything = "\n".join((*told, caplog.text, repr(vars(api)), repr(vars(vars(api)["_login"]))))
    assert "token-1" not in everything
    assert "the-credential" not in everything


def test_a_credential_in_a_form_stands_there_alone() -> None:
    headers, form = in_form("apikey", grant_type="g")(KeyMaterial("k"))
    assert (dict(headers), dict(form)) == ({}, {"grant_type": "g", "apikey": "k"})
