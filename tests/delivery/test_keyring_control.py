"""A program with a key ring is a member that keyturn can roll and prove: asked by the real fleet and the real canary."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from keyturn.canary import LiteLLMCanary
from keyturn.delivery.keyring import Freshness, KeyRing
from keyturn.delivery.keyring_freshness import elapsed
from keyturn.delivery.keyring_litellm import LiteLLMCredentials
from keyturn.delivery.keyring_probe import Probe
from keyturn.delivery.keys import Variable
from keyturn.errors import DeniedError, MisconfiguredError, RollFailedError, UnavailableError
from keyturn.fleets.process import ProcessFleet
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, Judgement, Member, Verdict, VersionRef
from keyturn.references import resolver
from keyturn.testing.processes import free_port
from keyturn.testing.world import new_key
from tests.delivery.fake_litellm import AuthenticationError, FakeLiteLLM, NotFoundError
from tests.delivery.ring_scene import NAME, Shop
from tests.delivery.test_keyring_threads import run

CREDENTIAL, MODEL = "openai-prod", "gpt-4o-mini"
SLOW = Freshness(interval=timedelta(hours=1), floor=timedelta(minutes=1))  # what turns here is rolled


class Scene:
    """A ring with its control address, and who asks it."""

    def __init__(self, ring: KeyRing, shop: Shop, litellm: Any, url: str, ahead: list[float]) -> None:
        self.ring, self.shop, self.litellm, self.url, self.ahead = ring, shop, litellm, url, ahead
        settings = ProcessFleet.Settings.model_validate(
            {"members": [{"url": url, "control": url}], "control_token": "env:CONTROL", "master_key": "env:MASTER"}
        )
        self.fleet = ProcessFleet(settings, resolver())
        self.member = Member("embedded", url, url)

    def canary(self, master_key: str | None = None) -> LiteLLMCanary:
        async def master() -> KeyMaterial:
            return KeyMaterial(master_key or os.environ["MASTER"])

        async def check(material: KeyMaterial) -> Judgement:
            return Judgement(Verdict.ACCEPTED if material.reveal() in self.litellm.accepted else Verdict.REJECTED, "direct")

        return LiteLLMCanary(self.fleet.members, master, MODEL, None, check, timedelta(seconds=30))

    async def judged(self) -> Judgement:
        canary = self.canary()
        try:
            return await canary.member(self.member)
        finally:
            await canary.aclose()


class Provider(FakeLiteLLM):
    """A LiteLLM with a provider behind it that knows which keys are good."""

    def __init__(self) -> None:
        super().__init__({}, self._answer)
        self.accepted: set[str] = set()
        self.says: Exception | None = None

    def _answer(self, key: str) -> Any:
        if self.says is not None:
            return self.says
        refusal = f"litellm.AuthenticationError: AuthenticationError: OpenAIException - Incorrect API key provided: {key}"
        return f"served {key[:3]}" if key in self.accepted else AuthenticationError(refusal)


@asynccontextmanager
async def scene(monkeypatch: pytest.MonkeyPatch, probe: bool = True) -> AsyncIterator[Scene]:
    monkeypatch.setenv("CONTROL", secrets.token_hex(16))
    monkeypatch.setenv("MASTER", secrets.token_hex(16))
    shop, litellm = Shop(), Provider()
    litellm.accepted.add(shop.held.material.reveal())
    url = f"http://127.0.0.1:{free_port()}"

    @asynccontextmanager
    async def sources() -> AsyncIterator[list[Variable]]:
        yield [Variable(CREDENTIAL, NAME, shop.read)]

    ahead = [0.0]
    async with KeyRing(sources, SLOW, clock=lambda: elapsed() + ahead[0]) as ring:
        LiteLLMCredentials(ring).install(litellm)
        asked = Probe(litellm, {MODEL: {"model": "openai/m", "litellm_credential_name": NAME}}, "env:MASTER")
        await ring.aserve_control(url, "env:CONTROL", asked if probe else None)
        found = Scene(ring, shop, litellm, url, ahead)
        yield found
        await found.fleet.aclose()


@pytest.fixture
async def embedded(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    async with scene(monkeypatch) as found:
        yield found


async def test_a_ring_is_rolled_by_the_fleet_and_proved_by_the_canary(embedded: Scene) -> None:
    old, new = embedded.ring.version(NAME), embedded.shop.turn()
    embedded.litellm.accepted = {new.material.reveal()}
    assert await embedded.fleet.serving(embedded.member, CREDENTIAL) == old
    assert (await embedded.judged()).verdict is Verdict.REJECTED  # it has the old one still

    await embedded.fleet.roll(embedded.member, CREDENTIAL, new.version)
    assert await embedded.fleet.serving(embedded.member, CREDENTIAL) == new.version
    assert (await embedded.judged()).verdict is Verdict.ACCEPTED
    assert embedded.litellm.sent[-1] == embedded.ring.get(NAME) == new.material.reveal()

    reads = embedded.shop.reads
    await embedded.fleet.roll(embedded.member, CREDENTIAL, new.version)
    assert embedded.shop.reads == reads, "repeating it is quiet"


async def test_preflight_has_nothing_against_a_ring(embedded: Scene) -> None:
    findings = [*await embedded.fleet.preflight(CREDENTIAL), *await embedded.canary().preflight()]
    assert [finding for finding in findings if finding.ok is False] == []
    assert "members" not in {finding.what for finding in findings}, "one is enough: it is not restarted"
    findings = list(await embedded.fleet.preflight("another"))
    assert [finding.what for finding in findings if finding.ok is False] == [f"{embedded.url[7:]}: credential"]


async def test_a_roll_onto_what_the_store_does_not_say_fails_and_the_old_key_is_served_on(embedded: Scene) -> None:
    known = embedded.ring.version(NAME)
    with pytest.raises(RollFailedError, match="not the one to roll onto"):
        await embedded.fleet.roll(embedded.member, CREDENTIAL, VersionRef("x", "0" * 16))
    embedded.shop.failure = UnavailableError("the store is down")
    with pytest.raises(UnavailableError, match="cannot read openai-prod"):
        await embedded.fleet.roll(embedded.member, CREDENTIAL, VersionRef("x", "0" * 16))
    with pytest.raises(MisconfiguredError, match="does not serve another"):
        await embedded.fleet.roll(embedded.member, "another", known)
    assert await embedded.fleet.serving(embedded.member, CREDENTIAL) == known


async def test_a_stale_key_is_not_served_and_a_roll_brings_it_back(embedded: Scene) -> None:
    embedded.ahead[0] = 25 * 3600
    assert await embedded.fleet.serving(embedded.member, CREDENTIAL) is None
    judgement = await embedded.judged()
    assert judgement.verdict is Verdict.INDETERMINATE
    await embedded.fleet.roll(embedded.member, CREDENTIAL, embedded.shop.held.version)
    assert await embedded.fleet.serving(embedded.member, CREDENTIAL) == embedded.shop.held.version


async def test_a_candidate_is_tried_and_nobody_is_served_it(embedded: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.delivery.keyring_probe._litellm_version", lambda: "1.106.2")
    known, candidate = embedded.ring.get(NAME), new_key()
    embedded.litellm.accepted.add(candidate.reveal())
    canary = embedded.canary()
    assert (await canary.candidate(candidate)).verdict is Verdict.ACCEPTED
    assert embedded.litellm.sent[-1] == candidate.reveal()
    assert (await canary.candidate(new_key())).verdict is Verdict.REJECTED
    await canary.aclose()
    assert (await embedded.judged()).verdict is Verdict.ACCEPTED
    assert embedded.litellm.sent[-1] == known


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (NotFoundError("litellm.NotFoundError: no such model"), "does not know the deployment's model"),
        (AuthenticationError("litellm.AuthenticationError: <!doctype html>"), "a reason not known"),
        (AuthenticationError("litellm.AuthenticationError: IP not authorized"), "a reason not known"),
        (ValueError("boom"), "a reason not known"),
    ],
    ids=["model", "page", "address", "bug"],
)
async def test_what_is_not_a_refusal_of_the_key_decides_nothing(embedded: Scene, says: Exception, words: str) -> None:
    embedded.litellm.says = says
    judgement = await embedded.judged()
    assert judgement.verdict is Verdict.INDETERMINATE
    assert says.args[0] not in judgement.reason


async def test_neither_a_cache_nor_a_fallback_proves_anything(embedded: Scene) -> None:
    embedded.litellm.model_fallbacks = ["other"]
    assert (await embedded.judged()).verdict is Verdict.INDETERMINATE
    assert embedded.litellm.sent == []
    embedded.litellm.model_fallbacks = None
    assert (await embedded.judged()).verdict is Verdict.ACCEPTED
    (arguments,) = embedded.litellm.arguments
    told = {name: arguments[name] for name in ("cache", "num_retries", "max_retries", "max_tokens")}
    assert told == {"cache": {"no-cache": True, "no-store": True}, "num_retries": 0, "max_retries": 0, "max_tokens": 16}

    completion = embedded.litellm.completion

    def cached(**arguments: Any) -> Any:
        answer = completion(**arguments)
        answer._hidden_params = {"cache_hit": True}
        return answer

    embedded.litellm.completion = cached
    assert (await embedded.judged()).reason == "LiteLLM's cache answered, not the provider"


async def test_a_wrong_token_and_a_wrong_master_key_are_refused(embedded: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeniedError, match="master key"):
        await embedded.canary("wrong").member(embedded.member)
    monkeypatch.setenv("CONTROL", "wrong")
    with pytest.raises(DeniedError, match="control token"):
        await embedded.fleet.roll(embedded.member, CREDENTIAL, embedded.shop.turn().version)
    async with httpx.AsyncClient(trust_env=False, base_url=embedded.url) as client:
        for path in ("/v1/status", "/model/info", "/health/readiness/details"):
            assert (await client.get(path)).status_code == 401
    assert embedded.litellm.sent == []


async def test_no_answer_has_key_text_in_it(embedded: Scene) -> None:
    """The provider repeats the key that it refuses, and LiteLLM hands that on."""
    embedded.litellm.accepted.clear()
    key = embedded.ring.get(NAME)
    async with httpx.AsyncClient(trust_env=False, base_url=embedded.url) as client:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}
        answer = await client.post(
            "/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {os.environ['MASTER']}"}
        )
        status = await client.get("/v1/status", headers={"Authorization": f"Bearer {os.environ['CONTROL']}"})
    assert answer.status_code == 401
    assert status.json()["versions"][CREDENTIAL]["fingerprint"] == embedded.ring.version(NAME).fingerprint
    assert not any(key[n : n + 12] in answer.text + status.text for n in range(len(key) - 12))


async def test_without_a_probe_it_can_be_rolled_and_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch, probe=False) as found:
        new = found.shop.turn()
        await found.fleet.roll(found.member, CREDENTIAL, new.version)
        assert (await found.judged()).verdict is Verdict.INDETERMINATE


def test_a_ring_with_a_thread_serves_its_control_address_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROL", secrets.token_hex(16))
    held = Shop().held

    async def read() -> HeldKey:
        return held

    url = f"http://127.0.0.1:{free_port()}"
    with KeyRing({NAME: read}, SLOW) as ring:
        ring.serve_control(url, "env:CONTROL")
        assert httpx.get(f"{url}/health/readiness", trust_env=False).status_code == 200
        with pytest.raises(MisconfiguredError, match="cannot listen"):
            ring.serve_control(url, "env:CONTROL")
        with pytest.raises(MisconfiguredError, match="the control address must be a loopback address"):
            ring.serve_control("http://192.0.2.1:4000", "env:CONTROL")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health/readiness", trust_env=False)
    with pytest.raises(UnavailableError, match="does not run"):
        ring.serve_control(url, "env:CONTROL")


@pytest.mark.parametrize("arguments", [{"model": "openai/m", "api_key": "text"}, {"litellm_credential_name": NAME}], ids=str)
def test_a_probe_takes_no_literal_key_and_no_model_without_a_name(arguments: dict[str, str]) -> None:
    with pytest.raises(MisconfiguredError, match="literal key"):
        Probe(None, {MODEL: arguments})


async def test_a_function_gives_the_probe_the_rings_key_for_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as found:
        probe = Probe(found.litellm, {MODEL: {"model": "openai/m", "api_key": lambda: found.ring.get(NAME)}}, "env:MASTER")
        url = f"http://127.0.0.1:{free_port()}"
        await found.ring.aserve_control(url, "env:CONTROL", probe)
        found.member = Member("embedded", url, url)
        new = found.shop.turn()
        found.litellm.accepted = {new.material.reveal()}
        assert (await found.judged()).verdict is Verdict.REJECTED
        await asyncio.wait_for(found.ring.expect(NAME, new.version.fingerprint), 30)
        assert (await found.judged()).verdict is Verdict.ACCEPTED


def test_a_child_does_not_keep_the_parents_control_address_open() -> None:
    port = free_port()
    done = run(f"""
        import os, socket
        from keyturn.delivery.keyring import KeyRing
        from keyturn.material import KeyMaterial
        from keyturn.model import HeldKey, VersionRef

        async def read():
            return HeldKey(VersionRef("1", "f"), KeyMaterial("x"))

        os.environ["CONTROL"] = "x"
        go, wait = os.pipe()
        told, tell = os.pipe()
        with KeyRing({{"KEY": read}}) as ring:
            ring.serve_control("http://127.0.0.1:{port}", "env:CONTROL")
            child = os.fork()
            if child == 0:
                os.close(wait)
                os.write(tell, b"x")
                os.read(go, 1)
                os._exit(0)
            os.read(told, 1)  # what a child does at its birth is done
        with socket.socket() as probe:
            print("refused" if probe.connect_ex(("127.0.0.1", {port})) else "open")
        os.close(wait)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert (done.stdout, done.stderr) == ("refused\n0\n", "")


async def test_a_candidate_of_several_parts_takes_the_place_of_the_stored_credential(embedded: Scene) -> None:
    candidate = {"aws_access_key_id": secrets.token_hex(10), "aws_secret_access_key": secrets.token_hex(20)}
    body: dict[str, Any] = {"model": MODEL, "messages": [], "api_key": None, **candidate}
    async with httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {os.environ['MASTER']}"}) as client:
        await client.post(f"{embedded.url}/v1/chat/completions", json=body, timeout=30)
    (made,) = embedded.litellm.arguments
    assert made.items() >= candidate.items()
    assert not {"litellm_credential_name", "api_key"} & made.keys()
