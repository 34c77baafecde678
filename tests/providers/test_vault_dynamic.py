"""Keys that are leases: passwords of a real PostgreSQL, given by a real server of Vault's database engine."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import asyncpg
import hvac
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keyturn.errors import (
    DeniedError,
    KeyturnError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    UnavailableError,
)
from keyturn.lifecycle import Asked
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, Finding, Judgement, KeyRef, Member, Verdict
from keyturn.providers import vault_dynamic
from keyturn.providers.vault_dynamic import VaultDynamic
from keyturn.references import resolver
from keyturn.steps.create import create
from keyturn.steps.observe import begin
from keyturn.steps.promote import promote
from keyturn.steps.prove import prove
from keyturn.steps.revoke import revoke
from keyturn.steps.roll import roll
from keyturn.steps.validate import validate
from keyturn.steps.write import write
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.openbao import OpenBao
from keyturn.testing.postgres import DATABASE, Postgres
from keyturn.testing.processes import Processes
from keyturn.testing.store_scene import refused
from keyturn.testing.world import World
from keyturn.vault.permissions import stanza

LABEL = "keyturn-openai-012345-0123456789ab"
APP_ROLE = {"method": "approle", "role_id": "env:ROLE", "secret_id": "env:SECRET"}
MAKE = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
RENEW = "ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}'"
POLICY = {"auth/token/create-orphan": ("update",), "sys/leases/revoke": ("update",)}


@dataclass
class Engine:
    """One server of each, and what an operator sees of them."""

    bao: OpenBao
    postgres: Postgres
    processes: Processes

    def role(self, name: str, default_ttl: str = "1m", max_ttl: str = "24h") -> str:
        """The path at which it is read."""
        statements = {"creation_statements": [MAKE], "renew_statements": [RENEW]}
        ttls = {"default_ttl": default_ttl, "max_ttl": max_ttl}
        self.bao.root.write(f"database/roles/{name}", db_name="pg", **statements, **ttls)
        return f"database/creds/{name}"

    def leases(self, path: str) -> dict[str, float]:
        """The seconds that each lives, by its id."""
        found = self.bao.root.adapter.request("LIST", f"/v1/sys/leases/lookup/{path}", raise_exception=False)
        keys = found["data"]["keys"] if isinstance(found, dict) else []
        ids = [f"{path}/{each}" for each in keys]
        lives: dict[str, float] = {}
        for each in ids:
            with suppress(hvac.exceptions.InvalidRequest):  # it has gone meanwhile
                lives[each] = self.bao.root.sys.read_lease(each)["data"]["ttl"]
        return lives

    async def until(self, path: str, ids: Collection[str] = ()) -> None:
        """Until these leases are all: those of a token that was revoked go by and by."""
        async with asyncio.timeout(30):
            while True:
                if set(self.leases(path)) == set(ids):
                    return
                await asyncio.sleep(0.05)

    async def accepts(self, user: str, password: KeyMaterial) -> bool:
        """Whether PostgreSQL has such a user. (Over its socket it asks for no password.)"""
        try:
            connection = await asyncpg.connect(host=str(self.postgres.folder), user=user, database=DATABASE, timeout=10)
        except asyncpg.PostgresError:
            return False
        await connection.close()
        return True


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("dynamic")
    processes = Processes(folder)
    postgres: Postgres | None = None
    try:
        bao, postgres = OpenBao(processes, folder), Postgres(processes)
        address = f"postgres://postgres@/{DATABASE}?host={postgres.folder}"
        bao.root.sys.enable_secrets_engine("database")
        plugin = {"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": address}
        bao.root.write("database/config/pg", **plugin)
        yield Engine(bao, postgres, processes)
    finally:
        processes.stop()
        if postgres is not None:
            postgres.remove()


class Watched(VaultDynamic):
    """What is raised instead of a request, or of its answer, by the end of the path."""

    before: dict[str, KeyturnError]
    after: dict[str, KeyturnError]


Open = Callable[..., Watched]


@pytest.fixture
async def opened(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        def open_one(path: str, environ: dict[str, str] | None = None, **settings: Any) -> Watched:
            given = {"address": engine.bao.address, "path": path, "field": "password", "max_ttl": "12h", **settings}
            auth = APP_ROLE if environ else {"method": "token", "token": "env:TOKEN"}
            model = VaultDynamic.Settings.model_validate({"auth": auth, **given})
            made = Watched(model, resolver(environ=environ or {"TOKEN": engine.bao.root.token}))
            made.before, made.after = {}, {}
            request = made._vault.request

            async def watched(method: str, where: str, *args: Any, **more: Any) -> Any:
                for end, error in made.before.items():
                    if where.endswith(end):
                        raise error
                answer = await request(method, where, *args, **more)
                for end, error in made.after.items():
                    if where.endswith(end):
                        raise error
                return answer

            monkeypatch.setattr(made._vault, "request", watched)
            stack.push_async_callback(made.aclose)
            return made

        yield open_one


def login(
    engine: Engine, path: str, more: Mapping[str, tuple[str, ...]] = MappingProxyType({}), ttl: str = "1h"
) -> dict[str, str]:
    """Ids of an AppRole with the least policy."""
    name = f"role-{secrets.token_hex(4)}"
    rules = {**POLICY, path: ("read",), **more}
    made = engine.bao.app_role("\n".join(stanza(*each) for each in rules.items()), name=name, ttl=ttl)
    return {"ROLE": made.role_id, "SECRET": made.secret_id}


def lost() -> UnavailableError:
    return UnavailableError("no answer")


# Creating ---------------------------------------------------------------------------------------------------------------


@pytest.mark.real
async def test_a_key_lives_as_long_as_it_was_asked_for(engine: Engine, opened: Open) -> None:
    path = engine.role("life")
    provider, before = opened(path), datetime.now(UTC)
    for asked, given in ((timedelta(hours=2), 7200), (timedelta(days=40), 43200), (None, 43200)):
        made = await provider.create(LABEL, asked)
        (ttl,) = {engine.leases(path)[made.ref.id]}
        assert given - 10 < ttl <= given
        assert made.ref.name == LABEL
        assert made.ref.expires_at is not None
        assert made.ref.expires_at <= datetime.now(UTC) + timedelta(seconds=ttl + 1)
        assert made.ref.expires_at - before > timedelta(seconds=given - 10)
        assert made.material.reveal() not in repr(made)


@pytest.mark.real
async def test_a_key_outlives_the_login_that_it_was_made_with(engine: Engine, opened: Open) -> None:
    """A lease ends with the token that it was read with. With a login's own, it would be dead before the canary."""
    path = engine.role("outlives")
    provider = opened(path, login(engine, path, ttl="1s"))
    made = await provider.create(LABEL)
    token = (await provider._vault._tokens.get()).reveal()
    plain = engine.bao.root.read(path)["lease_id"]  # of the root token's: it is there as long as that
    async with asyncio.timeout(30):
        while True:
            if not await asyncio.to_thread(_is_alive, engine, token):
                break
            await asyncio.sleep(0.1)
    assert set(engine.leases(path)) == {made.ref.id, plain}


def _is_alive(engine: Engine, token: str) -> bool:
    answer = engine.bao.root.session.get(
        f"{engine.bao.address}/v1/auth/token/lookup-self", headers={"X-Vault-Token": token}, timeout=10
    )
    return bool(answer.status_code == 200)


@pytest.mark.real
async def test_a_key_is_revoked_at_once_and_again_quietly(engine: Engine, opened: Open) -> None:
    path = engine.role("revoked")
    provider = opened(path, login(engine, path))
    made, other = [await provider.create(LABEL) for _ in range(2)]
    await provider.revoke(made.ref)
    assert set(engine.leases(path)) == {other.ref.id}
    await provider.revoke(KeyRef(made.ref.id, ""))
    await provider.revoke(KeyRef(f"{path}/neverwas", ""))
    assert set(engine.leases(path)) == {other.ref.id}


@pytest.mark.real
async def test_the_engine_has_made_and_dropped_the_user(engine: Engine, opened: Open) -> None:
    """A revoke has waited for it."""
    path = engine.role("user")
    seen: list[CreatedKey] = [await opened(path, field=field).create(LABEL) for field in ("password", "username")]
    user = seen[1].material.reveal()
    assert await engine.accepts(user, seen[0].material)
    await opened(path).revoke(seen[1].ref)
    assert not await engine.accepts(user, seen[0].material)


@pytest.mark.real
@pytest.mark.parametrize("id", ["unknown", "", "database/creds/foreign/abc", "database/creds/mine", "database/creds/mine/"])
async def test_what_is_no_lease_of_the_path_is_never_revoked(engine: Engine, opened: Open, id: str) -> None:
    provider = opened(engine.role("mine"))
    provider.before[""] = lost()
    await refused(provider.revoke(KeyRef(id, "")), NotFoundError)


@pytest.mark.real
async def test_a_revoke_that_the_engine_cannot_do_is_no_success(engine: Engine, opened: Open) -> None:
    path = engine.role("stuck")
    made = await opened(path).create(LABEL)
    engine.bao.root.write("database/roles/stuck", db_name="pg", creation_statements=[MAKE], revocation_statements=["NO SQL"])
    assert "could not revoke" in str(await refused(opened(path).revoke(made.ref), UnavailableError))
    assert made.ref.id in engine.leases(path)
    engine.role("stuck")
    engine.bao.root.write("database/roles/stuck", db_name="pg", creation_statements=[MAKE], revocation_statements=[])
    await opened(path).revoke(made.ref)
    assert engine.leases(path) == {}


class Through:
    """LiteLLM, in whose place PostgreSQL's part is played: a key is accepted as long as its lease is there."""

    def __init__(self, engine: Engine, world: World, path: str) -> None:
        self.engine, self.world, self.path = engine, world, path
        self.known: dict[str, str] = {}

    def judge(self, fingerprint: str) -> Judgement:
        alive = self.known.get(fingerprint) in self.engine.leases(self.path)
        return Judgement(Verdict.ACCEPTED if alive else Verdict.REJECTED, "as its lease says")

    async def preflight(self) -> Sequence[Finding]:
        return []

    async def candidate(self, material: KeyMaterial) -> Judgement:
        return self.judge(material.fingerprint())

    async def member(self, member: Member) -> Judgement:
        version = self.world.fleet.loaded[member.name]
        return self.judge(version.fingerprint if version else "")

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.mark.real
async def test_a_lease_is_rotated_by_the_steps_as_any_key(
    engine: Engine, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = engine.role("rotated")
    provider, world = opened(path, login(engine, path)), await World.make()
    through = Through(engine, world, path)
    create_at_vault = provider.create

    async def remembered(label: str, expires_in: timedelta | None = None) -> CreatedKey:
        made = await create_at_vault(label, expires_in)
        through.known[made.material.fingerprint()] = made.ref.id
        return made

    monkeypatch.setattr(provider, "create", remembered)
    worker = replace(world.worker(), provider=provider, canaries={"local": through})
    seen: list[set[str]] = []
    for _ in range(3):
        world.clock.forward(seconds=5)
        turn = await begin(worker, Asked(world.clock.now()))
        await write(worker, turn, await create(worker, turn))
        await validate(worker, turn)
        await promote(worker, turn)
        await roll(worker)
        await prove(worker, timedelta(hours=1))
        both = set(engine.leases(path))
        await revoke(worker)
        seen.append(set(engine.leases(path)))
        current = (await world.store.current(world.secret)).version.fingerprint
        assert seen[-1] == {through.known[current]}
        assert len(both) == (1 if len(seen) == 1 else 2), "both are alive until the old one is revoked"
    assert len(set.union(*seen)) == 3


# What may go wrong at a create ------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("where", ["/creds/gone", "sys/leases/renew", "auth/token/renew-self"])
async def test_a_create_whose_answer_was_lost_leaves_nothing(engine: Engine, opened: Open, where: str) -> None:
    """Its token is revoked, and what was read with it. Somebody else's lease at the same path is left alone."""
    path = engine.role("gone")
    provider = opened(path)
    kept = await provider.create(LABEL)
    provider.after[where] = lost()
    await refused(provider.create(LABEL), UnavailableError)
    await engine.until(path, {kept.ref.id})
    provider.after.clear()
    await provider.revoke(kept.ref)


@pytest.mark.real
async def test_a_create_that_cannot_be_settled_says_so_and_ends_by_itself(
    engine: Engine, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_dynamic, "_FUSE", timedelta(seconds=2))
    path = engine.role("fuse", default_ttl="1h")
    provider = opened(path)
    provider.after["/creds/fuse"] = provider.before["auth/token/revoke-self"] = lost()
    error = await refused(provider.create(LABEL), LostAnswerError)
    assert "ends by itself" in error.remedy
    await engine.until(path)


@pytest.mark.real
async def test_a_refusal_to_revoke_the_token_is_no_proof_that_it_is_gone(engine: Engine, opened: Open) -> None:
    path = engine.role("refused")
    provider = opened(path)
    provider.after["/creds/refused"] = lost()
    provider.before["auth/token/revoke-self"] = DeniedError("403")
    await refused(provider.create(LABEL), LostAnswerError)


@pytest.mark.real
async def test_an_engine_whose_leases_are_shorter_is_refused_and_nothing_is_kept(engine: Engine, opened: Open) -> None:
    """Such a key would end in production before its successor comes."""
    path = engine.role("short", max_ttl="30m")
    error = await refused(opened(path).create(LABEL), MisconfiguredError)
    assert "30m" in error.message and "12h" in error.message
    await engine.until(path)


@pytest.mark.real
async def test_a_token_role_that_a_key_cannot_live_on_is_refused(engine: Engine, opened: Open) -> None:
    path, root = engine.role("by-role"), engine.bao.root
    good = {"orphan": True, "allowed_policies": ["root"], "renewable": True}
    for name, options in (
        ("good", {}),
        ("child", {"orphan": False}),
        ("counted", {"token_num_uses": 5}),
        ("batch", {"token_type": "batch", "renewable": False}),
        ("brief", {"token_explicit_max_ttl": "1h"}),
    ):
        root.sys.create_or_update_policy("reads", stanza(path, ("read",)))
        root.write(f"auth/token/roles/{name}", **{**good, "allowed_policies": ["reads"], **options})
        environ = login(engine, path, {f"auth/token/create/{name}": ("update",)})
        provider = opened(path, environ, token_role=name)
        if name == "good":
            assert (await provider.create(LABEL)).ref.id in engine.leases(path)
            await provider.revoke(KeyRef(next(iter(engine.leases(path))), ""))
            continue
        await refused(provider.create(LABEL), KeyturnError)
        await engine.until(path)


@pytest.mark.real
async def test_what_gives_no_lease_or_no_key_is_told(engine: Engine, opened: Open) -> None:
    engine.bao.enable_kv("plain", version=1)
    engine.bao.root.secrets.kv.v1.create_or_update_secret("x", {"password": "p"}, mount_point="plain")
    assert "gives no lease" in str(await refused(opened("plain/x").create(LABEL), MisconfiguredError))
    path = engine.role("fields")
    assert "field" in str(await refused(opened(path, field="api_key").create(LABEL), MisconfiguredError))
    await engine.until(path)
    await refused(opened("database/creds/absent").create(LABEL), KeyturnError)
    await refused(opened("nowhere/creds/x").create(LABEL), NotFoundError)


@pytest.mark.real
async def test_a_missing_permission_is_told_before_and_at_the_create(engine: Engine, opened: Open) -> None:
    path = engine.role("poor")
    for missing in (path, "auth/token/create-orphan", "sys/leases/revoke"):
        provider = opened(path, login(engine, path, {missing: ("deny",)}))
        findings = [finding for finding in await provider.preflight() if finding.ok is not True]
        assert any(missing in finding.remedy for finding in findings)
        verb = "delete" if missing == "sys/leases/revoke" else "create"
        assert any(finding.what.startswith(f"may {verb} keys at Vault: ") for finding in findings)
        assert all(missing in finding.remedy or "no engine" in finding.detail for finding in findings)
        if missing != "sys/leases/revoke":
            error = await refused(provider.create(LABEL), DeniedError)
            assert missing in error.remedy
    assert engine.leases(path) == {}


# Looking ----------------------------------------------------------------------------------------------------------------


async def preflight(provider: VaultDynamic) -> list[Finding]:
    return [finding for finding in await provider.preflight() if finding.ok is not True]


@pytest.mark.real
async def test_preflight_finds_what_is_wrong_with_the_engine(engine: Engine, opened: Open) -> None:
    path = engine.role("looked-at")
    assert await preflight(opened(path, login(engine, path))) == []
    engine.bao.enable_kv("keeps")
    (finding,) = await preflight(opened("keeps/data/x"))
    assert finding.ok is False and "kv" in finding.detail
    assert any(each.ok is False for each in await preflight(opened("nowhere/creds/x")))
    engine.bao.root.sys.tune_mount_configuration("database", max_lease_ttl="6h")
    (finding,) = await preflight(opened(path))
    assert "6h" in finding.detail
    engine.bao.root.sys.tune_mount_configuration("database", max_lease_ttl="768h")


@pytest.mark.real
async def test_leases_are_listed_without_names_where_the_policy_allows_it(engine: Engine, opened: Open) -> None:
    path = engine.role("listed")
    may: dict[str, tuple[str, ...]] = {f"sys/leases/lookup/{path}/": ("list", "sudo")}
    provider = opened(path, login(engine, path, may), can_list=True)
    assert await preflight(provider) == []
    assert list(await provider.list()) == []
    made = [await provider.create(LABEL) for _ in range(3)]
    listed = await provider.list()
    assert {ref.id for ref in listed} == {each.ref.id for each in made}
    assert {ref.name for ref in listed} == {""}
    assert [ref.created_at for ref in listed] == sorted(ref.created_at for ref in listed if ref.created_at)
    for ref in listed:
        assert ref.expires_at is not None
        assert abs(ref.expires_at - datetime.now(UTC) - timedelta(hours=12)) < timedelta(minutes=1)
    assert list(await provider.find(LABEL)) == []
    assert provider.capabilities.can_list
    poor = opened(path, login(engine, path), can_list=True)
    assert "sudo" in (await preflight(poor))[0].remedy
    await refused(poor.list(), DeniedError)


def test_what_it_can_do_is_said() -> None:
    settings = {"address": "https://vault:8200", "auth": {"method": "token", "token": "env:A"}}
    settings |= {"path": "database/creds/x", "field": "password", "max_ttl": "12h"}
    provider = VaultDynamic(VaultDynamic.Settings.model_validate(settings), resolver(environ={}))
    can = provider.capabilities
    assert (can.shape, can.can_list, can.can_check, can.supports_expiry) == ("leased", False, False, True)
    assert not can.reports_last_use
    for wrong in ({"max_ttl": "5m"}, {"path": "../sys"}, {"path": "a" * 91}, {"field": "a b"}, {"token_role": "../x"}):
        with pytest.raises(ValidationError):
            VaultDynamic.Settings.model_validate({**settings, **wrong})


async def test_without_a_url_nothing_is_known_of_a_key_and_with_one_its_owner_is_asked() -> None:
    settings = {"address": "https://vault:8200", "auth": {"method": "token", "token": "env:A"}}
    settings |= {"path": "database/creds/x", "field": "password", "max_ttl": "12h"}
    key, status = KeyMaterial(secrets.token_hex(12)), [200, 401]

    async def answer(request: Request) -> Response:
        ours = request.headers["authorization"] == f"Bearer {key.reveal()}"
        return Response("", status[0] if ours else status[1])

    with LoopbackServer(Starlette(routes=[Route("/v1/models", answer)])) as server:
        for url, own, others, verdict in (
            (None, 200, 401, Verdict.INDETERMINATE),
            (f"{server.url}/v1/models", 200, 401, Verdict.ACCEPTED),
            (f"{server.url}/v1/models", 401, 401, Verdict.REJECTED),
            (f"{server.url}/v1/models", 200, 200, Verdict.INDETERMINATE),  # it takes anything
            (f"{server.url}/v1/models", 403, 401, Verdict.INDETERMINATE),
            (f"{server.url}/v1/models", 500, 401, Verdict.INDETERMINATE),
            (f"{server.url}/v1/models", 302, 401, Verdict.INDETERMINATE),
            ("http://127.0.0.1:9", 200, 401, Verdict.INDETERMINATE),
        ):
            status[:] = [own, others]
            model = VaultDynamic.Settings.model_validate({**settings, "check_url": url})
            provider = VaultDynamic(model, resolver(environ={}))
            assert (await provider.check(key)).verdict is verdict, (url, own, others)
            assert provider.capabilities.can_check is (url is not None)
            await provider.aclose()
