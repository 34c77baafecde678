"""A vendor's API description against what goes over the wire: the adapter's requests, and the simulator's answers.

The descriptions are the vendors' own and no part of this repository: where they are not, the test is skipped, loudly.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keyturn.testing.provider_scene import Scene as ProviderScene

FOLDER = Path(__file__).parents[3] / "shared" / "specs"
_ROOT = "urn:description"


@dataclass(frozen=True)
class Exchange:
    """What went over the wire once."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    status: int
    answer: Any


class Recorder:
    """Passes everything on to the application, and keeps what it saw."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.exchanges: list[Exchange] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, answer, status = bytearray(), bytearray(), 0

        async def receiving() -> Message:
            message = await receive()
            request.extend(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            answer.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._record(scope, bytes(request), status, bytes(answer))  # before the caller can go on
            await send(message)

        await self.app(scope, receiving, sending)

    def _record(self, scope: Scope, request: bytes, status: int, answer: bytes) -> None:
        query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        is_json = dict(scope["headers"]).get(b"content-type", b"application/json").startswith(b"application/json")
        body = json.loads(request) if request and is_json else None
        told = json.loads(answer) if answer else None
        self.exchanges.append(Exchange(scope["method"], scope["path"], query, body, status, told))


class Description:
    """An OpenAPI description. `strip`: what stands before its paths at the simulator. `newer`: parameters and fields that
    the vendor's SDK has and the description does not. `seen`: what was checked, as `METHOD /path/{template}`.
    """

    def __init__(self, file: str, strip: str = "", newer: Mapping[str, Collection[str]] = MappingProxyType({})) -> None:
        path = FOLDER / file
        if not path.exists():
            pytest.skip(
                f"CONTRACT NOT CHECKED: the vendor's API description is not at {path} (it is not part of this project)"
            )
        self.data = yaml.safe_load(path.read_text())
        self.strip, self.newer = strip, newer
        self.seen: set[str] = set()
        resource = Resource.from_contents(self.data, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_ROOT, resource)

    @asynccontextmanager
    async def watching(self, scene: ProviderScene) -> AsyncIterator[None]:
        """Everything that goes over the wire meanwhile has to fit."""
        recorder = Recorder(scene.server.app)
        scene.server.app = recorder
        yield
        scene.server.app = recorder.app
        assert recorder.exchanges
        for exchange in recorder.exchanges:
            self.check(exchange)

    def check(self, exchange: Exchange) -> None:
        path = exchange.path.removeprefix(self.strip)
        template = self._template(path)
        described = self.data["paths"][template].get(exchange.method.lower())
        assert described is not None, f"{exchange.method} {template} is not described"
        self.seen.add(f"{exchange.method} {template}")
        shared = self.data["paths"][template].get("parameters", [])
        newer = set(self.newer.get(f"{exchange.method} {template}", ()))
        known = {each["name"] for each in map(self._resolved, (*described.get("parameters", []), *shared))} | newer
        assert exchange.query.keys() <= known, f"{template}: unknown parameters {exchange.query.keys() - known}"
        if exchange.body is not None:
            schema = self._resolved(described["requestBody"])["content"]["application/json"]["schema"]
            self._demand(schema, exchange.body, f"{exchange.method} {template}: the request")
            names = set(self._properties(schema)) | newer
            assert exchange.body.keys() <= names, f"{template}: unknown fields {exchange.body.keys() - names}"
        answers = described["responses"]
        assert str(exchange.status) in answers, f"{exchange.method} {template}: {exchange.status} is not described"
        content = self._resolved(answers[str(exchange.status)]).get("content", {})
        if "application/json" in content:
            self._demand(content["application/json"]["schema"], exchange.answer, f"{template}: the answer")

    def _template(self, path: str) -> str:
        for template in self.data["paths"]:
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                return str(template)
        raise AssertionError(f"no path of the description fits {path}")

    def _resolved(self, value: Any) -> Any:
        while "$ref" in value:
            value = self._registry.resolver(_ROOT).lookup(value["$ref"]).contents
        return value

    def _properties(self, schema: Any) -> Mapping[str, Any]:
        found = self._resolved(schema)
        parts = [self._properties(each) for each in found.get("allOf", [])]
        return {**{name: each for part in parts for name, each in part.items()}, **found.get("properties", {})}

    def _demand(self, schema: Any, value: Any, what: str) -> None:
        rooted = _rooted(schema)
        errors = [error.message for error in Draft202012Validator(rooted, registry=self._registry).iter_errors(value)]
        assert errors == [], f"{what}: {errors}"


def _rooted(schema: Any) -> Any:
    """References of a part mean the whole."""
    if isinstance(schema, dict):
        found = {name: _rooted(value) for name, value in schema.items()}
        if isinstance(found.get("$ref"), str) and found["$ref"].startswith("#"):
            found["$ref"] = _ROOT + found["$ref"]
        return found
    return [_rooted(each) for each in schema] if isinstance(schema, list) else schema
