"""Google's API descriptions, discovery documents, against what goes over the wire: as tests.providers.description does it.

They have schemas of their own, without unions and without required fields; unknown fields are no part of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from keyturn.testing.provider_scene import Scene
from tests.providers.description import FOLDER, Exchange, Recorder


class Discovery:
    """One document. `seen`: what was checked, as the last two parts of a method's id: `keys.list`."""

    def __init__(self, file: str) -> None:
        path = FOLDER / file
        if not path.exists():
            pytest.skip(
                f"CONTRACT NOT CHECKED: Google's discovery document is not at {path} (it is not part of this project)"
            )
        self.data = json.loads(path.read_text())
        self.seen: set[str] = set()
        self._methods = list(_methods(self.data))

    @asynccontextmanager
    async def watching(self, scene: Scene, outside: Collection[str] = ()) -> AsyncIterator[None]:
        """Everything that goes over the wire meanwhile has to fit, but for the paths `outside`, which are of another API."""
        recorder = Recorder(scene.server.app)
        scene.server.app = recorder
        yield
        scene.server.app = recorder.app
        checked = [each for each in recorder.exchanges if each.path not in outside]
        assert checked
        for exchange in checked:
            self.check(exchange)

    def check(self, exchange: Exchange) -> None:
        method = self._method(exchange)
        self.seen.add(".".join(method["id"].split(".")[-2:]))
        where = f"{exchange.method} {method['flatPath']}"
        described = {**self.data.get("parameters", {}), **method.get("parameters", {})}
        in_query = {name: each for name, each in described.items() if each["location"] == "query"}
        assert exchange.query.keys() <= in_query.keys(), f"{where}: unknown {exchange.query.keys() - in_query.keys()}"
        for name, value in exchange.query.items():
            allowed = in_query[name].get("enum", [value])
            assert value in allowed, f"{where}: {name} may not be {value}"
            if in_query[name]["type"] == "integer":
                assert value.isdigit(), f"{where}: {name} is no number"
        if "request" in method:
            self._demand(method["request"], exchange.body, f"{where}: the request", writing=True)
        else:
            assert exchange.body is None, f"{where} takes no body"
        if exchange.status == 200:
            self._demand(method["response"], exchange.answer, f"{where}: the answer")
        else:  # google.rpc.Status, which no document of an API describes
            error = exchange.answer["error"]
            assert error.keys() <= {"code", "message", "status", "details"}
            assert error["code"] == exchange.status

    def _method(self, exchange: Exchange) -> Mapping[str, Any]:
        for method in self._methods:
            pattern = re.sub(r"\\{\w+\\}", "[^/:]+", re.escape("/" + method["flatPath"]))
            if method["httpMethod"] == exchange.method and re.fullmatch(pattern, exchange.path):
                return method
        raise AssertionError(f"{exchange.method} {exchange.path} is not described")

    def _demand(self, schema: Mapping[str, Any], value: Any, what: str, writing: bool = False) -> None:
        errors = [error.message for error in Draft202012Validator(self._plain(schema, writing)).iter_errors(value)]
        assert errors == [], f"{what}: {errors}"

    def _plain(self, schema: Mapping[str, Any], writing: bool) -> dict[str, Any]:
        """As JSON Schema. `writing`: what is only for reading is unknown."""
        found = self.data["schemas"][schema["$ref"]] if "$ref" in schema else schema
        plain: dict[str, Any] = {} if found["type"] == "any" else {"type": found["type"]}
        if "enum" in found:
            plain["enum"] = found["enum"]
        if found.get("format") == "byte":
            plain["pattern"] = "^[A-Za-z0-9+/]*={0,2}$"
        if found.get("format") == "google-datetime":
            plain["pattern"] = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$"
        if found["type"] == "array":
            plain["items"] = self._plain(found["items"], writing)
        if found["type"] == "object":
            known = {
                name: each for name, each in found.get("properties", {}).items() if not (writing and each.get("readOnly"))
            }
            plain["properties"] = {name: self._plain(each, writing) for name, each in known.items()}
            further = found.get("additionalProperties")
            plain["additionalProperties"] = self._plain(further, writing) if further else False
        return plain


def _methods(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from _methods(inner)
