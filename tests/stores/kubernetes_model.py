"""A model of Secrets in a Kubernetes API server that takes one request at a time, for exploring orders of requests.

test_kubernetes_interleavings shows that it answers as the double does.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from keyturn.kubernetes.answer import Answer
from tests.stores.orders import Turn

Object = dict[str, Any]


class Secrets:
    """Numbered objects. An update names the number it replaces, and moves it only where something changes."""

    def __init__(self, objects: Mapping[str, Object] | None = None, number: int = 0) -> None:
        self.objects = dict(objects or {})
        self.number = number

    def answer(self, method: str, path: str, body: Any) -> Answer:
        name = body["metadata"]["name"] if method == "POST" else path.rpartition("/")[2]
        there = self.objects.get(name)
        if method == "POST":
            return self._write(name, body, None) if there is None else _refused(409, "AlreadyExists", name)
        if there is None:
            return _refused(404, "NotFound", name)
        if method == "GET":
            return Answer(200, there)
        if body["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"]:
            return _refused(409, "Conflict", name)
        return self._write(name, body, there)

    def field(self, name: str, key: str) -> str | None:
        """The text at this key of a Secret."""
        found = self.objects.get(name, {}).get("data", {}).get(key)
        return None if found is None else base64.b64decode(found).decode()

    def set_field(self, name: str, key: str, value: str) -> None:
        there = self.objects[name]
        self._write(name, {**there, "data": {**there["data"], key: base64.b64encode(value.encode()).decode()}}, there)

    def _write(self, name: str, sent: Object, there: Object | None) -> Answer:
        made = {"apiVersion": "v1", "kind": "Secret", **sent}
        if made == there:
            return Answer(200, there)
        self.number += 1
        self.objects[name] = {**made, "metadata": {**made["metadata"], "resourceVersion": str(self.number)}}
        return Answer(200 if there else 201, self.objects[name])


def _refused(status: int, reason: str, name: str) -> Answer:
    return Answer(status, {"kind": "Status", "reason": reason, "details": {"kind": "secrets", "name": name}})


class Client:
    """In the place of KubernetesClient: waits for its turn before each request."""

    server: Secrets

    def __init__(self, settings: object, resolve: object) -> None:
        self.server = Client.server

    async def request(self, method: str, path: str, wanted: object, body: Any = None) -> Answer:
        await Turn()
        return self.server.answer(method, path, json.loads(json.dumps(body)))
