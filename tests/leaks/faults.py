"""Faults of ours: exceptions that nobody foresaw, whose text holds every key that the process has seen.

Each is put into the class that would raise it, in the process of one run.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import httpx
import requests
from botocore.client import BaseClient
from botocore.exceptions import ParamValidationError

from keyturn.fleets.process import ProcessFleet
from keyturn.material import KeyMaterial
from keyturn.providers.openai import OpenAI
from keyturn.stores.vault_kv2 import VaultKV2
from keyturn.vault.client import VaultClient

FAULTS: dict[str, Callable[[], None]] = {}

_seen: list[str] = []


def _fault(put: Callable[[], None]) -> Callable[[], None]:
    def with_memory() -> None:
        _remember_keys()
        put()

    FAULTS[put.__name__] = with_memory
    return put


def _remember_keys() -> None:
    made = KeyMaterial.__init__

    def remembering(self: KeyMaterial, text: str) -> None:
        made(self, text)
        if text.startswith("sk-svcacct-"):
            _seen.append(text)

    KeyMaterial.__init__ = remembering  # type: ignore[method-assign]


def _keys() -> str:
    """What the exception says. A fault that would say nothing shows nothing."""
    if not _seen:
        raise SystemExit("the fault came before any key was seen")
    return f"no good: {', '.join(dict.fromkeys(_seen))}"


def _replace(owner: Any, name: str, made: Callable[[Any], Any]) -> None:
    setattr(owner, name, made(getattr(owner, name)))


@_fault
def create_ends_in_a_runtime_error() -> None:
    def broken(original: Any) -> Any:
        async def create(self: OpenAI, *args: Any, **more: Any) -> Any:
            await original(self, *args, **more)
            raise RuntimeError(_keys())

        return create

    _replace(OpenAI, "create", broken)


@_fault
def write_ends_in_a_value_error_with_causes() -> None:
    def broken(_: Any) -> Any:
        async def stage(*args: Any) -> None:
            try:
                try:
                    raise KeyError(_keys())
                except KeyError as first:
                    raise TypeError(_keys()) from first
            except TypeError as second:
                raise ValueError(_keys(), [_keys()]) from second

        return stage

    _replace(VaultKV2, "stage", broken)


@_fault
def the_http_library_fails_with_its_request() -> None:
    _fail_in_httpx(httpx.RemoteProtocolError)


@_fault
def something_below_the_http_library_fails_with_its_request() -> None:
    _fail_in_httpx(ConnectionAbortedError)  # no error of httpx's: no adapter is ready for it


def _fail_in_httpx(kind: type[Exception]) -> None:
    """When the new key is tried: no other request bears what was staged."""
    new: list[str] = []

    def remembered(original: Any) -> Any:
        async def read(self: VaultKV2, *args: Any) -> Any:
            staged = await original(self, *args)
            new.append(staged.reveal())
            return staged

        return read

    def broken(original: Any) -> Any:
        async def send(self: httpx.AsyncClient, request: httpx.Request, **more: Any) -> Any:
            if not any(text in request.headers.get("authorization", "") for text in new):
                return await original(self, request, **more)
            raise kind(f"{dict(request.headers.multi_items())} {_keys()}")

        return send

    _replace(VaultKV2, "read", remembered)
    _replace(httpx.AsyncClient, "send", broken)


@_fault
def vaults_library_fails_with_its_request() -> None:
    def broken(original: Any) -> Any:
        def request(self: requests.Session, method: str, url: str, *args: Any, **sent: Any) -> Any:
            if method == "GET" or not _seen or "login" in url:
                return original(self, method, url, *args, **sent)
            raise requests.exceptions.ContentDecodingError(f"{method} {url} {sent}: {_keys()}")

        return request

    _replace(requests.Session, "request", broken)


@_fault
def vaults_adapter_fails_with_its_request() -> None:
    def broken(original: Any) -> Any:
        async def request(self: VaultClient, method: str, path: str, *args: Any, **more: Any) -> Any:
            if method == "GET" or not _seen:
                return await original(self, method, path, *args, **more)
            raise LookupError(f"{method} {path} {args} {more}: {_keys()}")

        return request

    _replace(VaultClient, "request", broken)


@_fault
def vaults_adapter_fails_with_its_answer() -> None:
    def broken(original: Any) -> Any:
        async def request(self: VaultClient, *args: Any, **more: Any) -> Any:
            answer = await original(self, *args, **more)
            if "sk-svcacct-" in str(answer.body):
                raise RuntimeError(f"{args} {answer.body}")
            return answer

        return request

    _replace(VaultClient, "request", broken)


@_fault
def awss_library_fails_with_its_request() -> None:
    def broken(original: Any) -> Any:
        def call(self: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
            if operation != "PutSecretValue":
                return original(self, operation, arguments)
            raise ParamValidationError(report=f"Invalid type for parameter SecretString, value: {arguments}: {_keys()}")

        return call

    _replace(BaseClient, "_make_api_call", broken)


@_fault
def promote_ends_in_a_value_error() -> None:
    async def promote(*args: Any) -> None:
        raise ValueError(_keys())

    VaultKV2.promote = promote  # type: ignore[assignment]


@_fault
def roll_ends_in_a_group_of_errors() -> None:
    def broken(_: Any) -> Any:
        async def roll(*args: Any) -> None:
            raise ExceptionGroup(_keys(), [RuntimeError(_keys()), OSError(5, _keys(), _keys())])

        return roll

    _replace(ProcessFleet, "roll", broken)


@_fault
def revoke_ends_in_an_error_with_notes() -> None:
    def broken(_: Any) -> Any:
        async def revoke(*args: Any) -> None:
            error = UnicodeDecodeError("utf-8", _keys().encode(), 0, 1, _keys())
            error.add_note(_keys())
            raise error

        return revoke

    _replace(OpenAI, "revoke", broken)


@_fault
def the_end_of_the_flow_fails_outside_of_any_task() -> None:
    async def observe_decider(*args: Any) -> None:
        raise RuntimeError(_keys())

    import_module("flows.retire").observe_decider = observe_decider  # type: ignore[attr-defined]


@_fault
def the_closing_of_connections_fails() -> None:
    async def aclose(self: Any) -> None:
        raise OSError(_keys())

    OpenAI.aclose = aclose  # type: ignore[method-assign]
