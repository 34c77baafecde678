"""The canary against a real LiteLLM with its cache on and a fallback configured: each trap is first shown to be one."""

from __future__ import annotations

import math
import secrets
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from keyturn.canary import LiteLLMCanary
from keyturn.errors import DeniedError, MisconfiguredError
from keyturn.material import KeyMaterial
from keyturn.model import Judgement, Member, Verdict
from keyturn.testing import litellm
from keyturn.testing.faults import Fault
from keyturn.testing.openai_organization import Call, Key, Organization
from keyturn.testing.openai_simulator import OpenAISimulator
from keyturn.testing.processes import Processes, free_port
from tests.canary.fake_litellm import always

pytestmark = [pytest.mark.real, pytest.mark.compat]


def new_key() -> KeyMaterial:
    return KeyMaterial("sk-" + secrets.token_hex(24))


@dataclass
class World:
    """One LiteLLM; the provider behind it, which its key `loaded` works at; another provider that it falls back to."""

    member: Member
    master: KeyMaterial
    loaded: KeyMaterial
    provider: Organization
    other: Organization
    provider_url: str
    log: Any

    def candidate(self) -> KeyMaterial:
        """A new key that the provider accepts."""
        return self.provider.add_key("proj", "candidate")[1]

    @contextmanager
    def revoked(self) -> Iterator[None]:
        """The loaded key is dead meanwhile."""
        key = self.key(self.loaded)
        key.refused_from = -math.inf
        try:
            yield
        finally:
            key.refused_from = math.inf

    def key(self, material: KeyMaterial) -> Key:
        return self.provider.keys[material.fingerprint()]

    def calls(self, organization: Organization, material: KeyMaterial) -> list[Call]:
        return [call for call in organization.calls if call.fingerprint == material.fingerprint()]

    async def naive(self, model: str, prompt: str | None = None, **more: Any) -> httpx.Response:
        """What a user, or a careless canary, sends."""
        content = prompt or str(uuid.uuid4())
        body = {"model": model, "messages": [{"role": "user", "content": content}], "num_retries": 0, **more}
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            headers = {"Authorization": f"Bearer {self.master.reveal()}"}
            return await client.post(f"{self.member.url}/v1/chat/completions", json=body, headers=headers)

    def canary(self, model: str = "solo", **changed: Any) -> LiteLLMCanary:
        async def master_key() -> KeyMaterial:
            return self.master

        settings: dict[str, Any] = {
            "members": always(self.member),
            "master_key": master_key,
            "model": model,
            "deployment": None,
            "check": self.check,
            "timeout": timedelta(seconds=60),
            "transport": httpx.AsyncHTTPTransport(),
        }
        return LiteLLMCanary(**{**settings, **changed})

    async def check(self, material: KeyMaterial) -> Judgement:
        """The provider's own check."""
        async with httpx.AsyncClient(trust_env=False) as client:
            headers = {"Authorization": f"Bearer {material.reveal()}"}
            status = (await client.get(f"{self.provider_url}/models", headers=headers)).status_code
        verdict = {200: Verdict.ACCEPTED, 401: Verdict.REJECTED}.get(status, Verdict.INDETERMINATE)
        return Judgement(verdict, f"the provider answered {status}")


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("real-litellm")
    provider, other = Organization(new_key()), Organization(new_key())
    provider.add_project("proj")
    loaded, backup = provider.add_key("proj", "loaded")[1], other.add_key("proj", "backup")[1]
    spare = provider.add_key("proj", "spare")[1]
    master, processes = new_key(), Processes(folder)
    with OpenAISimulator(provider) as upstream, OpenAISimulator(other) as elsewhere:
        config = litellm.write_config(
            folder / "config.yaml",
            [
                litellm.Deployment("solo-1", upstream.base_url, "solo"),
                # Groups of their own for tests whose users must be served: a failed member call cools a group down.
                litellm.Deployment("users-1", upstream.base_url, "users"),
                litellm.Deployment("cached-1", upstream.base_url, "cached"),
                litellm.Deployment("kept-1", upstream.base_url, "kept"),
                litellm.Deployment("pool-1", upstream.base_url, "pool"),
                litellm.Deployment("pool-2", upstream.base_url, "pool"),
                litellm.Deployment("prim-1", upstream.base_url, "prim"),
                litellm.Deployment("backup-1", elsewhere.base_url, "backup", key_variable="BACKUP_KEY"),
                # A pool in which another key lives, and takes over when a call is tried again.
                litellm.Deployment("spare-1", upstream.base_url, "spare"),
                litellm.Deployment("spare-2", upstream.base_url, "spare", key_variable="SPARE_KEY"),
                litellm.Deployment("mock-1", upstream.base_url, "mock", params={"mock_response": "hi"}),
                litellm.Deployment("down-1", f"http://127.0.0.1:{free_port()}/v1", "down"),
            ],
            litellm_settings={"cache": True, "cache_params": {"type": "local"}},
            # The second reaches a pinned call too, as default_fallbacks would for every group.
            router_settings={"fallbacks": [{"prim": ["backup"]}, {"prim-1": ["backup"]}]},
        )
        try:
            keys = {litellm.KEY_VARIABLE: loaded, "BACKUP_KEY": backup, "SPARE_KEY": spare}
            member = litellm.start(processes, "litellm", config, master, keys)
            yield World(member, master, loaded, provider, other, upstream.base_url, folder / "litellm.log")
        finally:
            processes.stop()


@pytest.fixture
async def world(started: World) -> AsyncIterator[World]:
    yield started
    started.provider.faults.clear()
    started.other.faults.clear()


async def verdict(canary: LiteLLMCanary, material: KeyMaterial | Member) -> Verdict:
    try:
        asked = canary.candidate(material) if isinstance(material, KeyMaterial) else canary.member(material)
        return (await asked).verdict
    finally:
        await canary.aclose()


async def test_the_loaded_key_and_a_good_candidate_are_accepted(world: World) -> None:
    candidate = world.candidate()
    assert await verdict(world.canary(), world.member) is Verdict.ACCEPTED
    assert await verdict(world.canary(), candidate) is Verdict.ACCEPTED
    assert [call.operation for call in world.calls(world.provider, candidate)].count("chat") == 1


async def test_a_dead_candidate_is_rejected_and_users_do_not_notice(world: World) -> None:
    assert await verdict(world.canary("users"), new_key()) is Verdict.REJECTED
    assert (await world.naive("users")).status_code == 200


async def test_a_candidate_does_not_stay_in_the_pool(world: World) -> None:
    candidate = world.candidate()
    assert await verdict(world.canary("users"), candidate) is Verdict.ACCEPTED
    before = len(world.calls(world.provider, candidate))
    for _ in range(4):
        assert (await world.naive("users")).status_code == 200
    assert len(world.calls(world.provider, candidate)) == before


async def test_preflight_finds_all_well(world: World) -> None:
    canary = world.canary()
    findings = await canary.preflight()
    await canary.aclose()
    assert [finding.ok for finding in findings] == [True] * 5


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "throttle"},
        {"kind": "quota"},
        {"kind": "status", "status": 401, "code": "ip_not_authorized"},
        {"kind": "status", "status": 402},
        {"kind": "status", "status": 403, "code": "permission"},
        {"kind": "status", "status": 404, "code": "model_not_found"},
        {"kind": "status", "status": 500},
        {"kind": "html", "status": 401},
        {"kind": "html", "status": 200},
        {"kind": "reset"},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
async def test_a_provider_in_trouble_decides_nothing(world: World, fault: dict[str, Any]) -> None:
    candidate = world.candidate()
    world.provider.faults.append(Fault(operation="chat", times=None, **fault))
    assert await verdict(world.canary(), candidate) is Verdict.INDETERMINATE
    assert await verdict(world.canary(), world.member) is Verdict.INDETERMINATE


async def test_what_answers_401_in_words_of_its_own_is_not_believed_against_the_providers_check(world: World) -> None:
    """LiteLLM hands on neither a code nor where the answer came from: what it says of a member depends on its version."""
    candidate = world.candidate()
    world.provider.faults.append(Fault(operation="chat", times=None, kind="status", status=401))
    assert await verdict(world.canary(), candidate) is Verdict.INDETERMINATE


async def test_a_provider_that_hangs_decides_nothing(world: World) -> None:
    candidate = world.candidate()
    world.provider.faults.append(Fault(operation="chat", kind="slow", seconds=5, times=None))
    found = await world.canary(timeout=timedelta(seconds=1.5)).candidate(candidate)
    assert found.verdict is Verdict.INDETERMINATE
    assert "did not answer within" in found.reason


async def test_a_route_that_is_down_decides_nothing(world: World) -> None:
    assert await verdict(world.canary("down"), world.candidate()) is Verdict.INDETERMINATE


async def test_the_cache_answers_for_a_dead_key_and_is_not_believed(world: World) -> None:
    prompt = str(uuid.uuid4())
    assert (await world.naive("cached", prompt)).status_code == 200
    assert await verdict(world.canary("cached"), world.member) is Verdict.ACCEPTED
    with world.revoked():
        trap = await world.naive("cached", prompt)
        assert (trap.status_code, "x-litellm-cache-key" in trap.headers) == (200, True)
        assert (await world.naive("cached", prompt, api_key=new_key().reveal())).status_code == 200
        assert await verdict(world.canary("cached"), world.member) is Verdict.REJECTED
        assert await verdict(world.canary("cached"), new_key()) is Verdict.REJECTED


async def test_the_fallback_answers_for_a_dead_key_and_is_shown_no_candidate(world: World) -> None:
    shown, kept = new_key(), new_key()
    with world.revoked():
        for pinned_or_not in ("prim", "prim-1"):
            trap = await world.naive(pinned_or_not)
            assert (trap.status_code, trap.headers["x-litellm-model-id"]) == (200, "backup-1")
        assert await verdict(world.canary("prim"), world.member) is Verdict.REJECTED
    await world.naive("prim-1", api_key=shown.reveal())
    assert world.calls(world.other, shown), "the trap is one: the other provider was sent the key"
    before = len(world.other.calls)
    assert await verdict(world.canary("prim"), kept) is Verdict.REJECTED
    assert world.calls(world.provider, kept)
    assert len(world.other.calls) == before


async def test_the_cooldown_hides_a_dead_key_and_is_passed_by(world: World) -> None:
    with world.revoked():
        assert await verdict(world.canary(), world.member) is Verdict.REJECTED
        trap = await world.naive("solo")
        assert (trap.status_code, trap.json()["error"]["type"]) == (429, "all_deployments_in_cooldown")
        assert await verdict(world.canary(), world.member) is Verdict.REJECTED
        assert await verdict(world.canary(), world.candidate()) is Verdict.ACCEPTED
    assert await verdict(world.canary(), world.member) is Verdict.ACCEPTED


async def test_the_retry_answers_for_a_dead_key_and_is_not_believed(world: World) -> None:
    pinned = world.canary("spare", deployment="spare-1")
    assert await verdict(pinned, world.member) is Verdict.ACCEPTED
    with world.revoked():
        for _ in range(20):  # a call goes to one or the other
            trap = await world.naive("spare", num_retries=3)
            assert trap.status_code == 200
            if trap.headers["x-litellm-attempted-retries"] != "0":
                break
        assert (trap.headers["x-litellm-attempted-retries"], trap.headers["x-litellm-model-id"]) == ("1", "spare-2")
        assert await verdict(world.canary("spare", deployment="spare-1"), world.member) is Verdict.REJECTED


async def test_cache_fallback_retry_and_cooldown_are_all_on_and_the_proof_refuses_each(world: World) -> None:
    """One proxy, one dead key: users are served, or told to wait, by all four, and no member counts."""
    prompt = str(uuid.uuid4())
    assert (await world.naive("kept", prompt)).status_code == 200
    with world.revoked():
        assert (await world.naive("kept", prompt)).status_code == 200
        assert (await world.naive("prim")).status_code == 200
        assert (await world.naive("spare", num_retries=3)).status_code == 200
        for _ in range(10):  # a failure cools the group down for five seconds, which a slow machine may miss
            if (trap := await world.naive("solo")).status_code == 429:
                break
        assert trap.json()["error"]["type"] == "all_deployments_in_cooldown"
        for model, deployment in {"kept": None, "prim": None, "spare": "spare-1", "solo": None}.items():
            assert await verdict(world.canary(model, deployment=deployment), world.member) is Verdict.REJECTED, model


async def test_a_mock_is_not_believed(world: World) -> None:
    assert (await world.naive("mock", api_key=new_key().reveal())).status_code == 200
    found = await world.canary("mock").candidate(world.candidate())
    assert found.verdict is Verdict.INDETERMINATE
    assert "garbage" in found.reason
    refused = [finding.what for finding in await world.canary("mock").preflight() if finding.ok is False]
    assert refused == [f"{world.member.name}: a garbage key is refused"]


async def test_a_model_that_is_not_there_and_one_that_is_there_twice(world: World) -> None:
    with pytest.raises(
        MisconfiguredError,
        match="nope is not known to the proxy; it has: backup, cached, down, kept, mock, pool, prim, solo, spare, users",
    ):
        await world.canary("nope").candidate(new_key())
    with pytest.raises(MisconfiguredError, match="several deployments: pool-1, pool-2"):
        await world.canary("pool").candidate(new_key())
    assert await verdict(world.canary("pool", deployment="pool-2"), world.member) is Verdict.ACCEPTED
    assert await verdict(world.canary("pool-1"), world.member) is Verdict.ACCEPTED


async def test_a_model_that_the_provider_does_not_know_stops_preflight(world: World) -> None:
    world.provider.faults.append(Fault(operation="chat", kind="status", status=404, code="model_not_found", times=None))
    (finding,) = [finding for finding in await world.canary().preflight() if finding.ok is False]
    assert "canary.model" in finding.remedy


async def test_a_wrong_master_key_is_no_verdict(world: World) -> None:
    wrong = new_key()

    async def master_key() -> KeyMaterial:
        return wrong

    with pytest.raises(DeniedError, match="master key"):
        await world.canary(master_key=master_key).candidate(new_key())
    with pytest.raises(DeniedError, match="master key"):
        await world.canary(master_key=master_key).member(world.member)
    findings = await world.canary(master_key=master_key).preflight()
    assert [finding.what for finding in findings if finding.ok is False] == [f"{world.member.name}: master key"]


async def test_the_proxy_writes_no_key_into_its_log(world: World) -> None:
    good, bad = world.candidate(), new_key()
    await verdict(world.canary(), good)
    await verdict(world.canary(), bad)
    text = world.log.read_text()
    for key in (good, bad, world.loaded, world.master):
        assert key.reveal() not in text
