"""How often one rotation calls its store, counted at the store; beside AWS's own template on the same double.

Counted is a rotation as there will be many: the secret was rotated before, and the worker is a new process. The flows are
keyturn's own, run without Prefect, which has no part in it. What the proxies read for themselves is not counted.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import requests

import flows.serve_current
from bench.aws_template import STEPS, SingleUser
from flows.outcome import Result
from keyturn.assembly import Assembly
from keyturn.model import Mark, Member, SecretRef, VersionRef
from keyturn.ports import SecretStore
from keyturn.references import resolver
from keyturn.settings import CredentialSettings
from keyturn.stores.aws_secrets_manager import AWSSecretsManager
from keyturn.stores.vault_kv2 import VaultKV2
from keyturn.stores.vault_policy import policy
from keyturn.testing.aws_double import AWSDouble
from keyturn.testing.openbao import OpenBao
from keyturn.testing.processes import Processes
from keyturn.testing.world import Clock, MemoryCanary, MemoryFleet, MemoryProvider, new_key
from tests.steps.plain_flows import plainly, retire, rotate

REGION = "us-east-1"
FIELD = "OPENAI_API_KEY"
PIVOT, WHOLE = "observe to promote", "observe to the end of the old key"

_a_proxy_reads: ContextVar[bool] = ContextVar("_a_proxy_reads", default=False)


def measure() -> Mapping[str, Any]:
    counts, template = of_aws()
    counts |= {f"vault field, {scope}": calls for scope, calls in _of_vault().items()}
    return {"calls_per_rotation": counts, "calls_of_the_aws_template": template}


def of_aws() -> tuple[dict[str, Mapping[str, int]], Mapping[str, int]]:
    """Of keyturn by shape and scope, and of the template."""
    double = AWSDouble()
    try:
        url, at_proxies = double.start(), (proxies := AWSDouble()).start()
        try:
            template = of_the_template(double, url)
            counts = {
                f"aws {what}, {scope}": calls
                for what, field in (("whole secret", None), ("field of a bundle", FIELD))
                for scope, calls in asyncio.run(_of_aws(double, url, at_proxies, field)).items()
            }
        finally:
            proxies.stop()
    finally:
        double.stop()
    return counts, template


def page(results: Mapping[str, Any]) -> str:
    if "calls_per_rotation" not in results:
        return ""
    rows = {"AWS's template for a single user": results["calls_of_the_aws_template"], **results["calls_per_rotation"]}
    lines = [f"| {name} | {sum(calls.values())} | {_listed(calls)} |" for name, calls in rows.items()]
    return (
        "## Store calls per rotation\n\n| rotation | calls | of these |\n|---|---|---|\n" + "\n".join(lines) + "\n\n"
        "The template stages a value, tries it and promotes it: that is `observe to promote`. It neither waits for what "
        "serves the value, nor asks for evidence, nor revokes the old one: what keyturn calls after the promotion is for "
        "that, and for fencing off everybody who may still promote the old key before it is deleted.\n"
    )


def _listed(calls: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {operation}" for operation, count in sorted(calls.items()))


# AWS's template.


def of_the_template(double: AWSDouble, url: str) -> Mapping[str, int]:
    """One rotation of a JSON secret. The RotateSecret that starts it is not counted, nor what its maker calls before."""
    api = _aws(url)
    passwords = {"first"}
    path, function = f"bench/{secrets.token_hex(6)}", f"arn:aws:lambda:{REGION}:123456789012:function:template"
    api.create_secret(Name=path, SecretString=json.dumps({"username": "user", "password": "first"}))
    double.lambdas[function] = lambda event, context: None  # the steps are made below, one by one
    token = api.rotate_secret(SecretId=path, RotationLambdaARN=function)["VersionId"]
    rotation = SingleUser(api, lambda old, new: passwords.add(new), lambda password: password in passwords)
    double.calls.clear()
    for step in STEPS:
        rotation.handler({"Step": step, "SecretId": path, "ClientRequestToken": token})
    calls = dict(double.calls)
    if json.loads(api.get_secret_value(SecretId=path)["SecretString"])["password"] == "first":
        raise RuntimeError("the template did not rotate")
    return calls


def _aws(url: str) -> Any:
    return boto3.client(
        "secretsmanager", endpoint_url=url, region_name=REGION, aws_access_key_id="bench", aws_secret_access_key="bench"
    )


# keyturn.


async def _of_aws(double: AWSDouble, url: str, at_proxies: str, field: str | None) -> Mapping[str, Mapping[str, int]]:
    path, key = f"bench/{secrets.token_hex(6)}", new_key()
    text = key.reveal() if field is None else json.dumps({"OTHER": "x", field: key.reveal()})
    _aws(url).create_secret(Name=path, SecretString=text)

    def store(address: str = url) -> SecretStore:
        given = {"region": REGION, "endpoint_url": address, "access_key_id": "env:ID", "secret_access_key": "env:SECRET"}
        settings = AWSSecretsManager.Settings.model_validate(given)
        return AWSSecretsManager(settings, resolver(environ={"ID": "bench", "SECRET": "bench"}))

    secret, provider = SecretRef("aws", path, field), MemoryProvider(Clock())
    provider.add(key, "made by hand")
    return await _scopes(secret, provider, store, store(at_proxies), double.calls)


def _of_vault() -> Mapping[str, Mapping[str, int]]:
    with tempfile.TemporaryDirectory() as folder, _requests_counted() as calls:
        processes = Processes(Path(folder))
        try:
            server = OpenBao(processes, Path(folder))
            server.enable_kv("secret")
            role, key = server.app_role(policy("bench")), new_key()
            server.root.secrets.kv.v2.create_or_update_secret("bench", {"OTHER": "x", FIELD: key.reveal()})
            environ = {"ROLE": role.role_id, "SECRET": role.secret_id}
            auth = {"method": "approle", "role_id": "env:ROLE", "secret_id": "env:SECRET"}

            def store() -> SecretStore:
                settings = VaultKV2.Settings.model_validate({"address": server.address, "auth": auth})
                return VaultKV2(settings, resolver(environ=environ))

            provider = MemoryProvider(Clock())
            provider.add(key, "made by hand")
            return asyncio.run(_scopes(SecretRef("vault", "bench", FIELD), provider, store, store(), calls))
        finally:
            processes.stop()


@contextmanager
def _requests_counted() -> Iterator[Counter[str]]:
    calls: Counter[str] = Counter()
    send = requests.Session.send

    def counted(session: requests.Session, request: requests.PreparedRequest, **given: Any) -> requests.Response:
        if not _a_proxy_reads.get():
            calls[f"{request.method} {_what(request.path_url)}"] += 1
        return send(session, request, **given)

    with patch.object(requests.Session, "send", counted):
        yield calls


def _what(path: str) -> str:
    """Of a path such as /v1/secret/data/keyturn/bench/FIELD what is the same for every secret."""
    parts = path.split("/")[2:]
    if parts[0] == "sys":
        return "/".join(parts[:2])
    return f"{parts[1]} beside" if parts[2:3] == ["keyturn"] else parts[1]


class _Fleet(MemoryFleet):
    """Its members read the store themselves, which is no call of the rotation's."""

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        token = _a_proxy_reads.set(True)
        try:
            await super().roll(member, credential, version)
        finally:
            _a_proxy_reads.reset(token)


async def _scopes(
    secret: SecretRef,
    provider: MemoryProvider,
    store: Callable[[], SecretStore],
    at_proxies: SecretStore,
    calls: Counter[str],
) -> Mapping[str, Mapping[str, int]]:
    fleet = _Fleet(at_proxies, secret)
    await fleet.start()
    overlap = timedelta(hours=1)
    found: dict[str, Mapping[str, int]] = {}

    async def run(note: bool) -> None:
        worker = _worker(secret, provider, store(), fleet)
        calls.clear()
        await rotate(worker, provider.clock.now(), overlap=overlap)
        provider.clock.forward(hours=2)
        await worker.secrets[0][1].aclose()
        worker = _worker(secret, provider, store(), fleet)
        done = await retire(worker, provider.clock.now())
        await worker.secrets[0][1].aclose()
        if done.result is not Result.RETIRED:
            raise RuntimeError(f"not retired: {done.sentence}")
        if note:
            found[WHOLE] = dict(calls)
        provider.clock.forward(hours=2)

    with plainly():
        await run(note=False)
        with _noted_at_the_roll(found, calls):
            await run(note=True)
    await at_proxies.aclose()
    return found


@contextmanager
def _noted_at_the_roll(found: dict[str, Mapping[str, int]], calls: Counter[str]) -> Iterator[None]:
    serve_current: Any = flows.serve_current
    roll = serve_current.roll

    async def noting(c: Assembly, **given: Any) -> None:
        found[PIVOT] = dict(calls)
        await roll(c, **given)

    with patch.object(flows.serve_current, "roll", noting):
        yield


def _worker(secret: SecretRef, provider: MemoryProvider, store: SecretStore, fleet: MemoryFleet) -> Assembly:
    """What a new process would wire."""
    settings = CredentialSettings.model_validate(
        {
            "provider": "bench",
            "secrets": [{"store": secret.store, "path": secret.path, "field": secret.field}],
            "canary": {"proxy": "bench", "model": "gpt"},
            "proxies": ["bench"],
        }
    )
    return Assembly(
        name="bench",
        settings=settings,
        mark=Mark.of("bench", str(secret)),
        provider=provider,
        secrets=((secret, store),),
        fleets={"bench": fleet},
        canaries={"bench": MemoryCanary(provider, fleet)},
        now=provider.clock.now,
        pause=provider.clock.pause,
    )
