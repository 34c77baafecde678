"""keyturn's own login is rotated: over the wire, with a store of files, whoever dies and whoever else is at work."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from flows.outcome import Outcome, Result
from keyturn.assembly import Adapters, Assembly, assemble
from keyturn.config import Config, parse
from keyturn.errors import KeyturnError, RejectedError
from keyturn.lifecycle import Reason
from keyturn.material import KeyMaterial
from keyturn.model import Mark
from keyturn.testing.explorer import EFFECTS, Actor, Fault
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.openai_organization import Organization
from keyturn.testing.openai_simulator import simulator
from keyturn.testing.own_world import MemoryAdminKeys, ServedToItself
from keyturn.testing.vendors.openai_admin_key import OpenAIAdminKeySimulator
from keyturn.testing.vendors.vertex import ACCOUNT, PROJECT, VertexSimulator
from keyturn.testing.world import MemoryCanary, MemoryFleet, World
from tests.steps import plain_flows

YAML = """
providers:
  openai-admin: {{kind: openai_admin_key, admin_key: "store:files/own.env#ADMIN", base_url: "{url}/v1", {times}}}
  openai-org: {{kind: openai, admin_key: "store:files/own.env#ADMIN", project: proj_a, service_account: svc_acct_a,
                base_url: "{url}/v1", {times}}}
  google: {{kind: vertex, service_account_key: "store:files/google.json", project: {project}, base_url: "{url}/v1",
            service_account: {account}, token_uri: "{url}/token", {times}}}
stores:
  files: {{kind: dotenv, folder: {folder}}}
proxies:
  itself: {{kind: keyturn}}
  local: {{kind: process, members: ["http://127.0.0.1:1"], master_key: env:MASTER}}
credentials:
  openai-admin:
    {{provider: openai-admin, secrets: [{{store: files, path: own.env, field: ADMIN}}], proxies: [itself], overlap: 0s}}
  google: {{provider: google, secrets: [{{store: files, path: google.json}}], proxies: [itself], overlap: 0s}}
  openai-prod:
    provider: openai-org
    secrets: [{{store: files, path: llm.env, field: OPENAI_API_KEY}}]
    canary: {{proxy: local, model: gpt}}
    proxies: [local]
    overlap: 0s
"""


@dataclass
class Vendors:
    """OpenAI with both kinds of keys, and Google, behind one address; and keyturn.yaml that leads there."""

    admin: OpenAIAdminKeySimulator
    organization: Organization
    google: VertexSimulator
    config: Config
    folder: Path

    def held(self, file: str, name: str = "") -> KeyMaterial:
        """What the store's file has: of its variables this one, or all of it."""
        if not name:
            return KeyMaterial((self.folder / file).read_text().removesuffix("\n"))
        line = next(line for line in (self.folder / file).read_text().splitlines() if line.startswith(f"{name}="))
        return KeyMaterial(line.partition("=")[2].strip("'\""))

    def callers(self, operation: str) -> list[str]:
        return [call.fingerprint for call in self.admin.log if call.operation == operation and call.outcome == "served"]


@pytest.fixture
def vendors(tmp_path: Path) -> Iterator[Vendors]:
    nobody = KeyMaterial(f"nobody-{secrets.token_hex(16)}")
    admin, google = OpenAIAdminKeySimulator(nobody), VertexSimulator(nobody)
    admin.administers = google.administers = True
    organization = Organization(nobody)
    organization.other_admins = admin.knows
    organization.add_project("proj_a")
    organization.add_account("proj_a", "litellm", id="svc_acct_a")
    _, first_admin = admin.add_key("made by hand")
    _, first_google = google.add_key("made by hand")
    _, first = organization.add_key("proj_a", "made by hand", account="svc_acct_a")
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    save(folder / "own.env", ADMIN=first_admin.reveal(), OTHER="untouched")
    save(folder / "google.json", first_google.reveal())
    save(folder / "llm.env", OPENAI_API_KEY=first.reveal())
    apps = [("/v1/organization/admin_api_keys", admin.app()), ("/v1/projects", google.app()), ("/token", google.app())]
    others = simulator(organization)

    async def by_path(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        app = next((app for begins, app in apps if path.startswith(begins)), others)
        await app(scope, receive, send)

    with LoopbackServer(by_path) as server:
        times = "usage_lag: 1s, propagation: 1s"
        source = YAML.format(url=server.url, folder=folder, times=times, project=PROJECT, account=ACCOUNT)
        yield Vendors(admin, organization, google, parse(source), folder)


def save(path: Path, text: str = "", **values: str) -> None:
    path.write_text(text or "".join(f"{name}={value}\n" for name, value in values.items()))
    path.chmod(0o600)


@asynccontextmanager
async def at(vendors: Vendors, name: str) -> AsyncIterator[Assembly]:
    async with assemble(vendors.config, name) as c:
        yield c


async def rotate(c: Assembly, **more: Any) -> Outcome:
    return await plain_flows.rotate(c, c.now(), **more)


async def test_the_old_key_makes_the_new_one_and_the_new_one_ends_the_old(vendors: Vendors) -> None:
    old = vendors.held("own.env", "ADMIN")
    async with at(vendors, "openai-admin") as c:
        outcome = await rotate(c)
        said = [line.sentence for line in c.timeline]
    new = vendors.held("own.env", "ADMIN")
    assert outcome.result is Result.RETIRED, outcome.sentence
    assert vendors.callers("create_key") == [old.fingerprint()]
    assert vendors.callers("delete_key") == [new.fingerprint()]
    assert [key.fingerprint for key in vendors.admin.live()] == [new.fingerprint()]
    assert vendors.held("own.env", "OTHER").reveal() == "untouched"
    assert any("itself/keyturn: serves the current key" in line and "lists keys for it" in line for line in said)
    assert old.reveal() not in "\n".join(said) and new.reveal() not in "\n".join(said)


async def test_a_service_account_of_google_rotates_its_own_key(vendors: Vendors) -> None:
    before = [key.id for key in vendors.google.live()]
    async with at(vendors, "google") as c:
        outcome = await rotate(c)
    assert outcome.result is Result.RETIRED, outcome.sentence
    after = [key.id for key in vendors.google.live()]
    assert len(after) == 1 and after != before
    assert after[0] in vendors.held("google.json").reveal()
    async with at(vendors, "google") as c:
        assert [key.id for key in await c.provider.list()] == after, "logged in with the new key"


async def test_a_key_that_may_not_list_keys_never_becomes_the_login() -> None:
    """As the successor of a restricted key might be: accepted, and of no use."""
    world = await own_world()
    first = world.fleet.login()
    world.provider.makes_unfit = True
    with pytest.raises(RejectedError) as raised:
        await rotate(world.worker())
    assert "list keys" in raised.value.message
    assert world.fleet.login() == first
    assert [material for _, material in world.provider.keys.values()] == [first], "the new key is gone again"


async def test_a_login_that_lost_its_rights_is_no_reason_to_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old key stays, and the next run goes on, once that is mended."""
    world = await own_world()
    c = world.worker()
    promoting = Actor("A", {})
    promoting.start(rotate(promoting.over(c)))
    await promoting.until(before="canary local.member")
    new = world.fleet.login()
    world.provider.unfit.update(id for id, (_, material) in world.provider.keys.items() if material == new)
    assert isinstance(await promoting.end(), KeyturnError)
    assert world.fleet.login() == new and len(world.provider.keys) == 2
    world.provider.unfit.clear()
    assert (await rotate(world.worker())).result is not Result.NOTHING


async def own_world() -> Any:
    world = await World.make(provider_of=MemoryAdminKeys, fleet_of=ServedToItself)
    provider, fleet = world.provider, world.fleet
    assert isinstance(provider, MemoryAdminKeys) and isinstance(fleet, ServedToItself)
    provider.login = fleet.login
    return world


async def test_a_run_that_dies_after_any_effect_is_finished_by_the_next(vendors: Vendors) -> None:
    """At every moment the store holds a login that OpenAI accepts; in the end it is the only key there is. (Every other
    fault, at every call, is tried in memory by test_races.py.)"""
    async with at(vendors, "openai-admin") as c:
        undisturbed = Actor("counting")
        await undisturbed.run(rotate(undisturbed.over(c)))
    effects = [number for number, call in enumerate(undisturbed.calls) if call.rpartition(".")[2] in EFFECTS]
    assert len(effects) >= 8
    wrong: list[str] = []

    def watch() -> None:
        if not vendors.admin.knows(vendors.held("own.env", "ADMIN").fingerprint()):
            wrong.append("the store holds a login that is refused")

    for number in effects:
        async with at(vendors, "openai-admin") as c:
            actor = Actor(f"A {number}", {number: Fault.DIES_AFTER}, watch)
            await actor.run(rotate(actor.over(c)))
            watch()
        async with at(vendors, "openai-admin") as c:
            actor = Actor("next", {}, watch)
            found = await actor.run(rotate(actor.over(c), reason=Reason.INCIDENT))
        if isinstance(found, KeyturnError):
            wrong.append(f"{number} {undisturbed.calls[number]}: {found}")
    async with at(vendors, "openai-admin") as c:
        await rotate(c)
    assert wrong == []
    (left,) = vendors.admin.live()
    assert left.fingerprint == vendors.held("own.env", "ADMIN").fingerprint()


@asynccontextmanager
async def ordinary(vendors: Vendors) -> AsyncIterator[Assembly]:
    """An openai credential that logs in with the same secret. Its proxies are in memory: they are not what this is about."""
    adapters = Adapters(vendors.config)
    settings = vendors.config.credential("openai-prod")
    provider, secret = adapters.provider("openai-org"), settings.secrets[0].ref
    store = adapters.store("files")
    fleet = MemoryFleet(store, secret)
    await fleet.start()

    class Asking(MemoryCanary):
        async def member(self, member: Any) -> Any:
            return await provider.check((await store.current(secret)).material)

    canary = Asking(provider, fleet)  # type: ignore[arg-type]
    try:
        yield Assembly(
            name="openai-prod",
            settings=settings,
            mark=Mark.of("openai-prod", "here"),
            provider=provider,
            secrets=((secret, store),),
            fleets={"local": fleet},
            canaries={"local": canary},
        )
    finally:
        await adapters.aclose()


async def test_a_rotation_that_runs_while_its_login_is_rotated_does_not_fail(vendors: Vendors) -> None:
    """Held before any of its calls to the provider, until the login is another, and the one it began with is deleted."""
    async with ordinary(vendors) as c:
        undisturbed = Actor("counting")
        assert (await undisturbed.run(anew(undisturbed.over(c)))).result is Result.RETIRED
    calls = [number for number, call in enumerate(undisturbed.calls) if call.startswith("provider.")]
    assert len(calls) >= 6
    for number in calls:
        async with ordinary(vendors) as c:
            actor = Actor("ordinary")
            actor.start(anew(actor.over(c)))
            assert await actor.until(calls=number)
            before = vendors.held("own.env", "ADMIN")
            async with at(vendors, "openai-admin") as own:
                assert (await anew(own)).result is Result.RETIRED
            assert not vendors.admin.knows(before.fingerprint())
            found = await actor.end()
        assert isinstance(found, Outcome) and found.result is Result.RETIRED, (undisturbed.calls[number], found)
    (left,) = [key for key in vendors.organization.listed("proj_a") if key.account]
    assert left.fingerprint == vendors.held("llm.env", "OPENAI_API_KEY").fingerprint()


async def anew(c: Assembly) -> Outcome:
    """Asked for after every rotation that there was."""
    return await plain_flows.rotate(c, c.now() + timedelta(seconds=5))
