"""Whatever answers in the place of a part, an adapter raises an error of ours, or says that it does not know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keyturn.errors import KeyturnError, LostAnswerError
from keyturn.fleets.litellm_credentials import LiteLLMCredentials
from keyturn.fleets.process import ProcessFleet
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, KeyRef, SecretRef, Stage, Verdict, VersionRef
from keyturn.providers.openai import OpenAI
from keyturn.providers.vault_dynamic import VaultDynamic
from keyturn.stores.aws_secrets_manager import AWSSecretsManager
from keyturn.stores.kubernetes_secret import KubernetesSecret
from keyturn.stores.vault_kv2 import VaultKV2
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.wire_faults import Hostile, hostile
from tests.delivery.supervised import new_key

TOKEN = "0b9a7c1e-6f0e-5d0f-8a59-3f0c51c5d3b7"
KEY, VERSION = KeyRef("key_1", "by hand"), VersionRef("1", "0123456789abcdef")


class Server:
    """It answers everything with one hostile body, or with a page that says 404."""

    def __init__(self) -> None:
        self.kind: Hostile | None = None
        self.url = ""
        self.asked: list[str] = []

    async def answer(self, request: Request) -> Response:
        self.asked.append(request.method)
        if self.kind is None:
            return Response("<html>Please log in</html>", 404)
        answer = hostile(self.kind)
        return Response(answer.body, answer.status, dict(answer.headers))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    methods = ["GET", "POST", "PATCH", "DELETE", "PUT"]
    with LoopbackServer(Starlette(routes=[Route("/{path:path}", made.answer, methods=methods)])) as running:
        made.url = running.url
        yield made


class _Closes(Protocol):
    async def aclose(self) -> None: ...


@asynccontextmanager
async def closed(adapter: _Closes) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await adapter.aclose()


async def resolve(_reference: str) -> KeyMaterial:
    return new_key()


ANSWERS = (*Hostile, None)

Verb = Callable[[Any], Awaitable[Any]]

PROVIDER: dict[str, Verb] = {
    "list": lambda provider: provider.list(),
    "find": lambda provider: provider.find("keyturn-a-012345-0123456789ab"),
    "last_used": lambda provider: provider.last_used(KEY),
    "revoke": lambda provider: provider.revoke(KEY),
}
STORE: dict[str, Verb] = {
    "current": lambda store: store.current(SecretRef("store", "a/secret", None)),
    "stages": lambda store: store.stages(SecretRef("store", "a/secret", None)),
    "stage": lambda store: store.stage(SecretRef("store", "a/secret", None), new_key(), TOKEN),
    "promote": lambda store: store.promote(SecretRef("store", "a/secret", None), VERSION, VersionRef("2", "f" * 16)),
    "discard": lambda store: store.discard(SecretRef("store", "a/secret", None), VERSION),
    "bar": lambda store: store.bar(SecretRef("store", "a/secret", None), VERSION),
    "annotations": lambda store: store.annotations(SecretRef("store", "a/secret", None)),
}


async def fails_in_our_words(call: Awaitable[Any]) -> KeyturnError:
    with pytest.raises(KeyturnError) as caught:
        await call
    assert "log in" not in str(caught.value) and "[[[" not in str(caught.value), "a body is not quoted"
    return caught.value


@pytest.mark.parametrize("kind", ANSWERS, ids=str)
@pytest.mark.parametrize("verb", PROVIDER)
async def test_a_provider(verb: str, kind: Hostile | None, server: Server) -> None:
    server.kind = kind
    provider = OpenAI(
        OpenAI.Settings(admin_key="env:ADMIN", project="proj_a", service_account="svc_a", base_url=server.url), resolve
    )
    async with closed(provider):
        await fails_in_our_words(PROVIDER[verb](provider))


@pytest.mark.parametrize("kind", Hostile)
async def test_a_provider_that_was_asked_for_a_key_or_whether_it_takes_one(kind: Hostile, server: Server) -> None:
    server.kind = kind
    provider = OpenAI(
        OpenAI.Settings(admin_key="env:ADMIN", project="proj_a", service_account="svc_a", base_url=server.url), resolve
    )
    async with closed(provider):
        error = await fails_in_our_words(provider.create("keyturn-a-012345-0123456789ab"))
        assert isinstance(error, LostAnswerError), "a key may exist"
        assert (await provider.check(new_key())).verdict is Verdict.INDETERMINATE


LEASES: dict[str, Verb] = {
    "create": lambda provider: provider.create("keyturn-a-012345-0123456789ab"),
    "list": lambda provider: provider.list(),
    "revoke": lambda provider: provider.revoke(KeyRef("database/creds/a/0123456789", "")),
}


@pytest.mark.parametrize("kind", ANSWERS, ids=str)
@pytest.mark.parametrize("method", ["token", "approle"])
@pytest.mark.parametrize("verb", LEASES)
async def test_vaults_engines(verb: str, method: str, kind: Hostile | None, server: Server) -> None:
    server.kind = kind
    auth = {"method": "approle", "role_id": "env:R", "wrapped_secret_id": "env:W"}
    settings = {"address": server.url, "auth": auth if method == "approle" else {"method": "token", "token": "env:T"}}
    settings |= {"path": "database/creds/a", "field": "password", "max_ttl": "12h"}
    provider = VaultDynamic(VaultDynamic.Settings.model_validate(settings), resolve)
    async with closed(provider):
        await fails_in_our_words(LEASES[verb](provider))


@pytest.mark.parametrize("kind", ANSWERS, ids=str)
@pytest.mark.parametrize("verb", STORE)
async def test_vault(verb: str, kind: Hostile | None, server: Server) -> None:
    server.kind = kind
    auth = {"method": "token", "token": "env:TOKEN"}
    store = VaultKV2(VaultKV2.Settings(address=server.url, auth=auth), resolve)  # type: ignore[arg-type]
    async with closed(store):
        await fails_in_our_words(STORE[verb](store))


@pytest.mark.parametrize("kind", ANSWERS, ids=str)
async def test_a_note_for_vault_is_not_written_another_way(kind: Hostile | None, server: Server) -> None:
    """Merged here and written whole, it would take the notes of others with it."""
    server.kind = kind
    auth = {"method": "token", "token": "env:TOKEN"}
    store = VaultKV2(VaultKV2.Settings(address=server.url, auth=auth), resolve)  # type: ignore[arg-type]
    async with closed(store):
        server.asked.clear()
        await fails_in_our_words(store.annotate(SecretRef("store", "a/secret", None), {"note": "text"}))
        assert "POST" not in server.asked


@pytest.mark.parametrize("kind", ANSWERS, ids=str)
@pytest.mark.parametrize("verb", STORE)
async def test_aws(verb: str, kind: Hostile | None, server: Server) -> None:
    server.kind = kind
    settings = AWSSecretsManager.Settings(
        region="us-east-1", endpoint_url=server.url, access_key_id="env:ID", secret_access_key="env:SECRET"
    )
    store = AWSSecretsManager(settings, resolve)
    async with closed(store):
        await fails_in_our_words(STORE[verb](store))


@pytest.mark.parametrize("kind", ANSWERS, ids=str)
@pytest.mark.parametrize("verb", STORE)
async def test_kubernetes(verb: str, kind: Hostile | None, server: Server) -> None:
    server.kind = kind
    store = KubernetesSecret(KubernetesSecret.Settings(server=server.url, token="env:TOKEN", namespace="a"), resolve)
    async with closed(store):
        await fails_in_our_words(STORE[verb](store))


@pytest.mark.parametrize("kind", ANSWERS, ids=str)
async def test_a_supervisor(kind: Hostile | None, server: Server) -> None:
    server.kind = kind
    members = ({"url": server.url, "control": server.url},)
    fleet = ProcessFleet(ProcessFleet.Settings(members=members, master_key="env:MASTER"), resolve)  # type: ignore[arg-type]
    async with closed(fleet):
        [member] = await fleet.members()
        assert await fleet.serving(member, "openai") is None
        await fails_in_our_words(fleet.roll(member, "openai", VERSION))
        assert next(finding.ok for finding in await fleet.preflight("openai")) is False


@pytest.mark.parametrize("kind", ANSWERS, ids=str)
async def test_litellms_credentials(kind: Hostile | None, server: Server) -> None:
    server.kind, key = kind, new_key()

    async def held(_credential: str) -> Mapping[Stage, HeldKey]:
        return {Stage.CURRENT: HeldKey(VersionRef("1", key.fingerprint()), key)}

    settings = LiteLLMCredentials.Settings(members=(server.url,), master_key="env:MASTER")
    fleet = LiteLLMCredentials(settings, resolve, held, lambda _: ())
    async with closed(fleet):
        [member] = await fleet.members()
        server.asked.clear()
        assert await fleet.serving(member, "openai") is None
        await fails_in_our_words(fleet.roll(member, "openai", VersionRef("1", key.fingerprint())))
        assert next(finding.ok for finding in await fleet.preflight("openai")) is False
        assert "PATCH" not in server.asked
