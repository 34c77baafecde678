"""What `keyturn plan` says a verb calls is what the adapter calls: each verb is watched while it does its work."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import httpx
import pytest

from keyturn.assembly import Adapters, Assembly, assemble
from keyturn.config import load
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef
from keyturn.stores.vault_documents import Documents
from keyturn.testing.embedded import BUNDLE, VAULT
from keyturn.vault.client import VaultClient
from tests.e2e.conftest import Installation

pytestmark = pytest.mark.real

LOGIN = ("POST auth/approle/login", "GET sys/internal/ui/mounts/secret")  # what is asked once, of the store as a whole


@pytest.fixture
async def c(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Assembly]:
    for name, value in installation.environ.items():
        monkeypatch.setenv(name, value)
    async with assemble(load(installation.config), VAULT.name) as found:
        yield found


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every HTTP request of an adapter over httpx, as "METHOD /path"."""
    seen: list[str] = []
    send = httpx.AsyncClient.send

    async def watched(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        seen.append(f"{request.method} {request.url.path}")
        return await send(self, request, **options)

    monkeypatch.setattr(httpx.AsyncClient, "send", watched)
    return seen


async def calls(sent: list[str], verb: Awaitable[Any]) -> tuple[set[str], Any]:
    sent.clear()
    found = await verb
    return set(sent), found


def said(adapter: Any, verb: str) -> str:
    call, permission = adapter.CALLS[verb]
    assert permission
    return str(call)


async def test_the_providers_verbs(c: Assembly, sent: list[str], installation: Installation) -> None:
    provider, seen = c.provider, {}
    seen["list"], _ = await calls(sent, provider.list())
    seen["create"], key = await calls(sent, provider.create("a-key-of-this-test"))
    seen["check"], _ = await calls(sent, provider.check(key.material))
    seen["last_used"], _ = await calls(sent, provider.last_used(key.ref))
    seen["revoke"], _ = await calls(sent, provider.revoke(key.ref))
    for verb, requests in seen.items():
        assert requests, verb
        for request in requests:
            method, path = request.replace("/v1/", "/", 1).split()
            template = (
                path.replace(key.ref.id, "{key}").replace(key.ref.owner, "{account}").replace("/proj_demo", "/{project}")
            )
            assert f"{method} {template}" in said(provider, verb), (verb, request)


async def test_the_fleets_and_the_canarys_verbs(c: Assembly, sent: list[str]) -> None:
    fleet, (secret, store) = c.fleets["local"], c.decider
    member, current = (await fleet.members())[0], await store.current(secret)
    seen: dict[tuple[Any, str], set[str]] = {}
    seen[fleet, "serving"], _ = await calls(sent, fleet.serving(member, VAULT.name))
    seen[fleet, "roll"], _ = await calls(sent, fleet.roll(member, VAULT.name, current.version))
    seen[c.canary, "member"], _ = await calls(sent, c.canary.member(member))
    seen[c.canary, "candidate"], _ = await calls(sent, c.canary.candidate(current.material))
    for (adapter, verb), requests in seen.items():
        assert requests, verb
        for request in requests - {"GET /v1/models"}:  # the provider's own check, which has a line of its own
            assert request in said(adapter, verb), (verb, request)


async def test_the_vaults_verbs(c: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    request = VaultClient.request

    async def watched(self: VaultClient, method: str, path: str, *rest: Any, **more: Any) -> Any:
        sent.append(f"{method} {path}")
        return await request(self, method, path, *rest, **more)

    monkeypatch.setattr(VaultClient, "request", watched)
    store, secret = c.decider[1], SecretRef("vault", BUNDLE, "OTHER")
    main, beside, metadata = (
        getattr(Documents(None, "secret", "keyturn"), f"{kind}_path")(secret)  # type: ignore[arg-type]
        for kind in ("main", "beside", "metadata")
    )
    templates = {
        main: "<mount>/data/<path>",
        beside: "<mount>/data/<staging_prefix>/<path>/<field>",
        metadata: "<mount>/metadata/<staging_prefix>/<path>/<field>",
    }
    before = await store.current(secret)
    new = KeyMaterial("sk-" + secrets.token_hex(24))
    seen: dict[str, set[str]] = {}
    seen["stages"], _ = await calls(sent, store.stages(secret))
    seen["spend"], _ = await calls(sent, store.spend(secret, str(uuid.uuid4())))
    seen["stage"], version = await calls(sent, store.stage(secret, new, str(uuid.uuid4())))
    seen["annotate"], _ = await calls(sent, store.annotate(secret, {"reason": "a test"}))
    seen["annotations"], _ = await calls(sent, store.annotations(secret))
    seen["promote"], _ = await calls(sent, store.promote(secret, version, before.version))
    await store.promote(secret, before.version, version)
    seen["bar"], _ = await calls(sent, store.bar(secret, version))
    seen["discard"], _ = await calls(sent, store.discard(secret, version))

    assert (await store.current(secret)).material == before.material
    for verb, requests in seen.items():
        writes = {line for line in requests if not line.startswith("GET ")} or requests
        for line in writes - set(LOGIN):
            method, path = line.split()
            assert f"{method} {templates[path]}" in said(store, verb), (verb, line)
    assert all(templates[line.split()[1]] in said(store, "stages") for line in seen["stages"])


async def test_awss_verbs(c: Assembly, installation: Installation) -> None:
    adapters, client = Adapters(load(installation.config)), installation.aws_client()
    store, name = adapters.store("aws"), f"calls/{uuid.uuid4()}"
    first = "sk-" + secrets.token_hex(24)
    client.create_secret(Name=f"{name}/whole", SecretString=first)
    client.create_secret(Name=f"{name}/bundle", SecretString=json.dumps({"A": first, "B": "untouched"}))
    double = httpx.AsyncClient(base_url=installation.aws_url, trust_env=False)

    async def watch(verb: Awaitable[Any]) -> tuple[set[str], Any]:
        await double.delete("/_double/calls")
        found = await verb
        return set((await double.get("/_double/calls")).json()), found

    for secret in (SecretRef("aws", f"{name}/whole"), SecretRef("aws", f"{name}/bundle", "A")):
        before = await store.current(secret)
        new = KeyMaterial("sk-" + secrets.token_hex(24))
        seen: dict[str, set[str]] = {}
        seen["stages"], _ = await watch(store.stages(secret))
        seen["spend"], _ = await watch(store.spend(secret, str(uuid.uuid4())))
        seen["stage"], version = await watch(store.stage(secret, new, str(uuid.uuid4())))
        seen["annotate"], _ = await watch(store.annotate(secret, {"reason": "a test"}))
        seen["annotations"], _ = await watch(store.annotations(secret))
        seen["promote"], _ = await watch(store.promote(secret, version, before.version))
        back, _ = await watch(store.promote(secret, before.version, version))
        seen["promote"] |= back
        seen["discard"], _ = await watch(store.discard(secret, version))
        again = await store.stage(secret, new, str(uuid.uuid4()))
        seen["bar"], _ = await watch(store.bar(secret, again))
        for verb, operations in seen.items():
            call, permission = store.CALLS[verb]  # type: ignore[attr-defined]  # not of the port
            looks = set() if verb in ("stages", "annotations") else {"DescribeSecret", "GetSecretValue"}
            assert operations, verb
            for operation in operations - looks:
                assert operation in call, (verb, operation)
                assert f"secretsmanager:{operation}" in permission, (verb, operation)
    await double.aclose()
    await adapters.aclose()
