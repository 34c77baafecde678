"""The one place that talks to a Kubernetes API server about Secrets: logs in, sends a request, words every refusal.

Over the official client (kubernetes 37), of which the connection and the login are used, and not the models: what is read is
written back as it was, also where this client does not know a field. Statuses and reasons as in the Kubernetes page "API
Concepts", and as recorded from a 1.36.2 server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException
from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyturn.durations import Duration
from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, ThrottledError, UnavailableError
from keyturn.http_answers import pause
from keyturn.json_object import json_object
from keyturn.references import Address, Resolver, SecretReference

_LARGEST_ANSWER = 8 * 1024 * 1024  # bytes; a Secret has at most one, and base64 makes it longer
_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class ClusterSettings(BaseModel):
    """How the API server is reached: `server` with `token`; or a kubeconfig; or, without either, as a pod of the cluster.

    `cluster`: a name of your choice for the cluster. It goes into the names of the keys that are made: needed where the same
    keyturn.yaml serves two clusters with one project at the provider.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    namespace: str = Field(default="default", pattern=_NAME)
    cluster: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,60}$")
    server: Address | None = None
    token: SecretReference | None = None
    ca_file: Path | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    timeout: Duration = timedelta(seconds=15)

    @model_validator(mode="after")
    def _one_way_in(self) -> ClusterSettings:
        if (self.server is None) != (self.token is None):
            raise ValueError("server and token go together")
        if self.server is not None and (self.kubeconfig is not None or self.context is not None):
            raise ValueError("give server and token, or kubeconfig and context, not both")
        if self.ca_file is not None and self.server is None:
            raise ValueError("ca_file goes with server")
        return self


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gave. `body`: the JSON object in it, empty where it has none that can be read."""

    status: int
    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class SecretsClient:
    """Requests about Secrets. Blocking I/O runs in threads; the connection is made on first use, and again after a 401."""

    def __init__(self, settings: ClusterSettings, resolve: Resolver) -> None:
        self._settings = settings
        self._resolve = resolve
        self._api: Any = None
        self._making = asyncio.Lock()

    async def get(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The Secret; None where there is none."""
        answer = await self._call("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}", "get", name)
        return None if answer.status == 404 else _secret(answer, self._where)

    async def create(self, namespace: str, secret: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """As it is now; None where there is one already. MisconfiguredError where there is no such namespace."""
        answer = await self._call("POST", f"/api/v1/namespaces/{namespace}/secrets", "create", "", secret)
        if answer.status == 404:
            raise MisconfiguredError(f"{self._where} has no namespace {namespace}", remedy="check namespace and path")
        return None if answer.status == 409 else _secret(answer, self._where)

    async def replace(self, namespace: str, name: str, secret: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """As it is now; None where it is not of the resourceVersion that is given in it any more, or gone."""
        path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        answer = await self._call("PUT", path, "update", name, secret)
        return None if answer.status in (404, 409) else _secret(answer, self._where)

    async def may(self, namespace: str, verb: str, name: str = "") -> bool | None:
        """Whether the login may do this to a Secret; None where that cannot be asked. Needs no permission of its own."""
        attributes = {"namespace": namespace, "verb": verb, "resource": "secrets", **({"name": name} if name else {})}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        try:
            answer = await self._call("POST", path, "create", "", review, resource="selfsubjectaccessreviews")
        except (DeniedError, MisconfiguredError):
            return None
        status = answer.body.get("status")
        allowed = status.get("allowed") if isinstance(status, dict) else None
        return allowed if isinstance(allowed, bool) else None

    async def aclose(self) -> None:
        if self._api is not None:
            await asyncio.to_thread(self._api.rest_client.close)

    @property
    def _where(self) -> str:
        settings = self._settings
        return f"Kubernetes at {settings.server}" if settings.server else f"Kubernetes ({settings.context or 'by default'})"

    async def _call(
        self,
        method: str,
        path: str,
        verb: str,
        name: str,
        body: Mapping[str, Any] | None = None,
        resource: str = "secrets",
    ) -> Answer:
        """404 and 409 come back; whatever else is no success is raised. A 401 is followed by one new login."""
        for first in (True, False):
            api = await self._connected()
            answer = await asyncio.to_thread(_attempt, api, method, path, body, self._settings.timeout.total_seconds())
            if isinstance(answer, Answer) and answer.status == 401 and first:
                if self._api is api:
                    self._api = None
                continue
            break
        if not isinstance(answer, Answer):
            raise self._unreachable(answer)
        if answer.status in (200, 201):
            return answer
        is_kubernetes = answer.body.get("kind") == "Status"
        if answer.status in (404, 409) and is_kubernetes:
            return answer
        raise self._refused(answer, is_kubernetes, verb, name, resource)

    async def _connected(self) -> Any:
        async with self._making:
            if self._api is None:
                settings = self._settings
                token = None if settings.token is None else (await self._resolve(settings.token)).reveal()
                made = await asyncio.to_thread(_connect, settings, token)
                if isinstance(made, str):
                    raise MisconfiguredError(
                        f"there is no login to {self._where} ({made})",
                        remedy="name server and token, or a kubeconfig, or run keyturn in a pod with a service account",
                    )
                self._api = made
            return self._api

    def _unreachable(self, kind: type[Exception]) -> KeyturnError:
        if issubclass(kind, urllib3.exceptions.SSLError):
            return MisconfiguredError(
                f"the certificate of {self._where} is not trusted",
                remedy="name the file of the cluster's authority in ca_file, or use a kubeconfig that has it",
            )
        if issubclass(kind, ValueError | urllib3.exceptions.LocationParseError):
            return MisconfiguredError(f"{self._where} cannot be asked ({kind.__name__})", remedy="check server and token")
        return UnavailableError(
            f"{self._where} does not answer ({kind.__name__})", remedy="check that it can be reached from here"
        )

    def _refused(self, answer: Answer, is_kubernetes: bool, verb: str, name: str, resource: str) -> KeyturnError:
        status, what = answer.status, f"to {verb} {resource}{f' {name}' if name else ''}"
        if status == 401:
            return DeniedError(f"{self._where} refuses the login (401)", remedy="give a token that is alive")
        if status == 403:
            limited = f", resourceNames: [{name}]" if name else ""
            rule = f"{{apiGroups: [''], resources: [{resource}], verbs: [{verb}]{limited}}}"
            return DeniedError(f"{self._where} denies {what} (403)", remedy=f"add to the Role: {rule}")
        if status == 429:
            return ThrottledError(
                f"{self._where} limits the rate of calls (429)", retry_after=pause(answer.headers.get("Retry-After"))
            )
        if status >= 500:
            return UnavailableError(f"{self._where} cannot serve this now ({status})", remedy="look at the API server")
        if not is_kubernetes:
            return MisconfiguredError(
                f"what answers {what} is no Kubernetes API server ({status})",
                remedy="check server, and proxies and login pages in between",
            )
        return MisconfiguredError(
            f"{self._where} does not take the request {what} ({status})",
            remedy="check the names; a Secret has at most 1 MiB, and an immutable one is never changed",
        )


def _secret(answer: Answer, where: str) -> Mapping[str, Any]:
    metadata = answer.body.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if answer.body.get("kind") != "Secret" or not isinstance(version, str) or not version:
        raise MisconfiguredError(
            f"what answers as {where} does not speak its API", remedy="check server, and proxies and login pages in between"
        )
    return answer.body


def _connect(settings: ClusterSettings, token: str | None) -> Any:
    """A client of the vendor's; or of what kind the failure is: its text may hold a kubeconfig."""
    made = client.Configuration()
    try:
        if settings.server is not None:
            made.host = settings.server
            made.api_key["BearerToken"] = f"Bearer {token}"
            made.ssl_ca_cert = None if settings.ca_file is None else str(settings.ca_file)
        elif settings.kubeconfig is not None or settings.context is not None:
            file = None if settings.kubeconfig is None else str(settings.kubeconfig)
            load: Any = config.load_kube_config
            load(file, settings.context, made, persist_config=False)
        else:
            load = config.load_incluster_config
            load(made)
        made.retries = False  # a write whose answer was lost is looked after by who sent it, and redirects are not followed
        return client.ApiClient(made)
    except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return type(error).__name__


def _attempt(api: Any, method: str, path: str, body: Mapping[str, Any] | None, seconds: float) -> Answer | type[Exception]:
    """The answer; or of what kind the error is that came instead: it may hold what was sent."""
    try:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if login := api.configuration.auth_settings().get("BearerToken"):
            headers["Authorization"] = login["value"]
        sent = api.rest_client.request(method, f"{api.configuration.host}{path}", headers, body, None, seconds)
        return _read(sent.response, seconds)
    except (urllib3.exceptions.HTTPError, client.ApiException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None)
        return type(reason) if isinstance(reason, Exception) else type(error)


def _read(response: Any, seconds: float) -> Answer:
    """All of it within that time: a timeout of urllib3 is for each read."""
    deadline, content = time.monotonic() + seconds, bytearray()
    try:
        for chunk in response.stream(65536):
            content += chunk
            if time.monotonic() > deadline:
                raise urllib3.exceptions.TimeoutError
            if len(content) > _LARGEST_ANSWER:
                return Answer(response.status, {}, response.headers)
        return Answer(response.status, json_object(bytes(content)), response.headers)
    finally:
        response.release_conn()
