"""A model of Secrets in a Kubernetes API server that takes one request at a time, for exploring orders of requests.

test_kubernetes_interleavings shows that it answers as the double does.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Self

from keyturn.kubernetes.answer import Answer
from keyturn.references import resolver
from keyturn.stores.kubernetes_documents import place_of
from keyturn.stores.kubernetes_secret import KubernetesSecret
from tests.stores.orders import Turn, alone
from tests.stores.staged_scene import FIELD, OLDER, SECRET, Backend, Server

Object = dict[str, Any]
PLACE = place_of(SECRET, "litellm", "key")
SETTINGS = KubernetesSecret.Settings.model_validate(
    {"server": "http://127.0.0.1:6443", "token": "env:UNUSED", "namespace": "litellm"}
)


class Secrets(Server):
    """Numbered objects. An update names the number it replaces, and moves it only where something changes."""

    other = "\xff\x00"  # which is no text in UTF-8: kept byte for byte

    def __init__(self, objects: Mapping[str, Object] | None = None, number: int = 0) -> None:
        self.objects = dict(objects or {})
        self.number = number

    @classmethod
    def bare(cls) -> Self:
        made = cls()
        data = {"OTHER": _encoded(cls.other), FIELD: _encoded(OLDER.reveal())}
        made.answer("POST", "", {"metadata": {"name": PLACE.main, "labels": {"team": "platform"}}, "data": data})
        return made

    def copy(self) -> Self:
        return type(self)(self.objects, self.number)

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

    def fields(self, path: str = SECRET.path) -> Mapping[str, str]:
        return self._decoded(path.rpartition("/")[2])

    def set_field(self, name: str, value: str) -> None:
        there = self.objects[PLACE.main]
        self._write(PLACE.main, {**there, "data": {**there["data"], name: _encoded(value)}}, there)

    @property
    def beside(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._decoded(PLACE.beside).get("state", "{}"))
        return found

    def set_beside(self, state: Mapping[str, Any]) -> None:
        there = self.objects[PLACE.beside]
        self._write(PLACE.beside, {**there, "data": {"state": _encoded(json.dumps(state))}}, there)

    def all_else_is_kept(self) -> bool:
        labels = self.objects[PLACE.main]["metadata"]["labels"]
        Client.server = self
        noted = alone(KUBERNETES.make().annotations(SECRET))
        return super().all_else_is_kept() and labels == {"team": "platform"} and noted["attempt"] == "1"

    def _decoded(self, name: str) -> dict[str, str]:
        """Each byte a character."""
        data = self.objects.get(name, {}).get("data", {})
        return {key: base64.b64decode(value).decode("latin-1") for key, value in data.items()}

    def _write(self, name: str, sent: Object, there: Object | None) -> Answer:
        made = {"apiVersion": "v1", "kind": "Secret", **sent}
        if made == there:
            return Answer(200, there)
        self._view = None
        self.number += 1
        self.objects[name] = {**made, "metadata": {**made["metadata"], "resourceVersion": str(self.number)}}
        return Answer(200 if there else 201, self.objects[name])


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("latin-1")).decode()


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


KUBERNETES = Backend(
    name="kubernetes",
    replaced="keyturn.stores.kubernetes_secret.KubernetesClient",
    client=Client,
    make=lambda: KubernetesSecret(SETTINGS, resolver(environ={})),
    bare=Secrets.bare,
    switches=3,
)
