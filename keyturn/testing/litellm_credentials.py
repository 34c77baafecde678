"""A double of LiteLLM's credentials in a database: several proxies over one table, each with a memory of its own.

Held by tests to a conversation that LiteLLM's own code had (tests/data/litellm-credentials.json). What it has of its own is
what goes wrong: workers that answer in turn, a proxy that never reads the table again, one with another salt key. Behind
`httpx.MockTransport`; time passes by `pass_time` alone.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from keyturn.material import KeyMaterial

_SENSITIVE = re.compile("authorization|token|key|secret|vertex_credentials|credentials|password|passwd")
_NO_DATABASE = "{'error': 'DB not connected. This endpoint needs a database'}"

Credential = dict[str, Any]  # {"credential_values": {...}, "credential_info": {...}}


@dataclass
class Proxy:
    """One member. `workers`: what each of its processes has in memory, by credential. `reads_every`: seconds; None: never.

    `stuck`: the numbers of workers that do not read the table.
    """

    salt: str = "salt"
    reads_every: float | None = 30
    workers: list[dict[str, Credential]] = field(default_factory=lambda: [{}])
    stuck: frozenset[int] = frozenset()
    down: bool = False
    last_read: float = 0
    asked: int = 0

    def next_worker(self) -> dict[str, Credential]:
        """The one that answers: each in its turn."""
        self.asked += 1
        return self.workers[self.asked % len(self.workers)]


@dataclass
class LiteLLMDatabase:
    """Proxies at http://NAME, and their table. `wire`: (proxy, fingerprint) of each key that was sent to the provider."""

    master_key: KeyMaterial
    proxies: dict[str, Proxy]
    live: set[str] = field(default_factory=set)  # fingerprints of the keys that the provider accepts
    virtual_keys: set[str] = field(default_factory=set)
    version: str = "1.106.2"
    connected: bool = True
    config_defined: set[str] = field(default_factory=set)
    table: dict[str, Credential] = field(default_factory=dict)
    deployments: dict[str, str] = field(default_factory=dict)  # id -> credential
    patches: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # (proxy, body)
    wire: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def pass_time(self, seconds: float) -> None:
        """Proxies read the table when their time has come."""
        self.seconds += seconds
        for proxy in self.proxies.values():
            if proxy.reads_every is not None and self.seconds - proxy.last_read >= proxy.reads_every:
                self.read_table(proxy)

    def read_table(self, proxy: Proxy) -> None:
        """As LiteLLM's get_credentials: entries are replaced whole; what cannot be decrypted is taken as it stands."""
        proxy.last_read = self.seconds
        for index in set(range(len(proxy.workers))) - proxy.stuck:
            proxy.workers[index] = {name: _decrypted(row, proxy.salt) for name, row in self.table.items()}

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        parts = urlsplit(str(request.url))
        proxy = self.proxies[parts.netloc]
        if proxy.down:
            raise httpx.ConnectError("refused", request=request)
        if parts.path == "/health/readiness":
            state = "connected" if self.connected else "Not connected"
            return httpx.Response(200, json={"status": "healthy", "db": state})
        if (refused := self._refused(request.headers.get("authorization", ""))) is not None:
            return refused
        body = json.loads(request.content) if request.content else {}
        name = unquote(request.url.raw_path.decode().rpartition("/")[2])
        match request.method, parts.path.split("/")[1:]:
            case "GET", ["health", "readiness", "details"]:
                return httpx.Response(200, json={"litellm_version": self.version})
            case "GET", ["model", "info"]:
                return httpx.Response(200, json={"data": [self._deployment(*each) for each in self.deployments.items()]})
            case "POST", ["v1", "chat", "completions"]:
                return self._complete(parts.netloc, proxy.next_worker(), body)
            case "GET", ["credentials"]:
                worker = proxy.next_worker()
                views = [_view(each, credential, each in self.config_defined) for each, credential in worker.items()]
                return httpx.Response(200, json={"success": True, "credentials": views})
            case "GET", ["credentials", "by_name", *_]:
                worker = proxy.next_worker()
                if name not in worker:
                    return _error(404, f"Credential not found. Got credential name: {name}")
                return httpx.Response(200, json=_view(name, worker[name], name in self.config_defined))
            case "POST", ["credentials"]:
                return self._create(proxy, body)
            case "PATCH", ["credentials", *_]:
                return self._patch(parts.netloc, proxy, name, body)
        return httpx.Response(404, json={"detail": "Not Found"})

    def _refused(self, authorization: str) -> httpx.Response | None:
        key = authorization.removeprefix("Bearer ")
        if key == self.master_key.reveal():
            return None
        if key in self.virtual_keys:
            return _error(401, "Authentication Error, Only proxy admin can be used to generate, delete, update info")
        if not self.connected:
            answer = {"message": "No connected db.", "type": "no_db_connection", "param": None, "code": "400"}
            return httpx.Response(400, json={"error": answer})
        return _error(401, "Authentication Error, Invalid proxy server token passed.")

    def _create(self, proxy: Proxy, body: dict[str, Any]) -> httpx.Response:
        name, credential = body["credential_name"], {each: body[each] for each in ("credential_values", "credential_info")}
        self.table[name] = _encrypted(credential, proxy.salt)
        proxy.next_worker()[name] = copy.deepcopy(credential)
        return httpx.Response(200, json={"success": True, "message": "Credential created successfully"})

    def _patch(self, host: str, proxy: Proxy, name: str, body: dict[str, Any]) -> httpx.Response:
        if not self.connected:
            return _error(500, _NO_DATABASE)
        if name not in self.table:
            if name in self.config_defined:
                return _error(405, f"Credential '{name}' is defined in config and cannot be edited from the API or UI.")
            return _error(404, "Credential not found in DB.")
        self.patches.append((host, body))
        change = {"credential_values": body.get("credential_values") or {}, "credential_info": body["credential_info"]}
        self.table[name]["credential_values"] |= _encrypted(change, proxy.salt)["credential_values"]
        if change["credential_info"]:  # then all that stood there goes
            self.table[name]["credential_info"] = copy.deepcopy(change["credential_info"])
        worker = proxy.next_worker()
        if name in worker:  # in the memory of this process it is merged
            worker[name] = {part: {**worker[name][part], **change[part]} for part in change}
        return httpx.Response(200, json={"success": True, "message": "Credential updated successfully"})

    def _deployment(self, identity: str, credential: str) -> dict[str, Any]:
        params = {"model": "openai/gpt-4o-mini", "litellm_credential_name": credential}
        return {"model_name": "gpt", "litellm_params": params, "model_info": {"id": identity}}

    def _complete(self, host: str, worker: Mapping[str, Credential], body: dict[str, Any]) -> httpx.Response:
        credential = worker.get(self.deployments.get(body["model"], ""), {"credential_values": {}})
        text = body.get("api_key") or credential["credential_values"].get("api_key", "none")
        key = KeyMaterial(text).fingerprint()
        self.wire.append((host, key))
        if key not in self.live:
            return _error(401, "litellm.AuthenticationError: AuthenticationError: OpenAIException - Incorrect API key")
        headers = {"x-litellm-call-id": "1", "x-litellm-model-id": body["model"]}
        return httpx.Response(200, headers=headers, json={"choices": [{"index": 0, "message": {"content": "hi"}}]})


def mask(text: str) -> str:
    """As LiteLLM shows a sensitive value."""
    return "*****" if len(text) <= 4 else f"{text[:2]}****{text[-2:]}"


def _view(name: str, credential: Credential, is_in_config: bool) -> dict[str, Any]:
    values = credential["credential_values"]
    return {
        "credential_name": name,
        "display_name": None,
        "credential_info": credential["credential_info"],
        "credential_values": {each: mask(text) if _SENSITIVE.search(each) else text for each, text in values.items()},
        "source": "config" if is_in_config else "db",
    }


def _encrypted(credential: Credential, salt: str) -> Credential:
    values = {name: f"{salt}/{text[::-1]}" for name, text in credential["credential_values"].items()}
    return {"credential_values": values, "credential_info": copy.deepcopy(credential["credential_info"])}


def _decrypted(row: Credential, salt: str) -> Credential:
    values = {
        name: text.removeprefix(f"{salt}/")[::-1] if text.startswith(f"{salt}/") else text
        for name, text in row["credential_values"].items()
    }
    return {"credential_values": values, "credential_info": copy.deepcopy(row["credential_info"])}


def _error(status: int, message: str) -> httpx.Response:
    error = {"message": message, "type": "internal_server_error", "param": None, "code": str(status)}
    return httpx.Response(status, json={"error": error})
