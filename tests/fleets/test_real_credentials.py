"""LiteLLM's credentials, as its own code has them: two real proxies over one table, and what each sends to the provider.

The table is a file in place of Prisma's engine, which no package registry has; all else is LiteLLM (tests/inside_litellm).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.canary import LiteLLMCanary
from keyturn.fleets.litellm_credentials import LiteLLMCredentials
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, Member, Stage, Verdict, VersionRef
from keyturn.testing.world import new_key
from tests.canary.fake_litellm import always
from tests.fleets.credentials_conversation import play, recorded, two_keys
from tests.fleets.real_credentials import NAME, Real, started

pytestmark = [pytest.mark.real, pytest.mark.compat]
START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with started(tmp_path_factory.mktemp("real-credentials")) as running:
        yield running


@dataclass
class Scene:
    """A fleet of the real ones. While keyturn waits its clock goes on, and members read the table every 30 s of it."""

    real: Real
    old: KeyMaterial
    new: KeyMaterial
    seconds: float = 0
    read_at: float = 0
    never: set[str] = field(default_factory=set)

    async def pause(self, seconds: float) -> None:
        self.seconds += seconds
        if self.seconds - self.read_at >= 30:
            self.read_at = self.seconds
            for member in set(self.real.members) - self.never:
                await self.real.send(member, "READ", "", {})

    def fleet(self) -> LiteLLMCredentials:
        async def resolve(_: str) -> KeyMaterial:
            return self.real.master

        async def held(_: str) -> Mapping[Stage, HeldKey]:
            keys = {Stage.CURRENT: self.new, Stage.PREVIOUS: self.old}
            return {stage: HeldKey(VersionRef("1", key.fingerprint()), key) for stage, key in keys.items()}

        settings = LiteLLMCredentials.Settings(
            members=tuple(member.url for member in self.real.members.values()),
            master_key="env:MASTER",
            names={"openai-prod": NAME},
        )
        return LiteLLMCredentials(
            settings, resolve, held, lambda _: (), lambda: START + timedelta(seconds=self.seconds), self.pause
        )

    @property
    def version(self) -> VersionRef:
        return VersionRef("1", self.new.fingerprint())

    async def canary(self, material: KeyMaterial | Member) -> Verdict:
        async def master_key() -> KeyMaterial:
            return self.real.master

        canary = LiteLLMCanary(always(*self.real.members.values()), master_key, "gpt", None, None, timedelta(seconds=60))
        try:
            asked = canary.candidate(material) if isinstance(material, KeyMaterial) else canary.member(material)
            return (await asked).verdict
        finally:
            await canary.aclose()


@pytest.fixture
async def scene(real: Real) -> AsyncIterator[Scene]:
    old, new = (real.provider.add_key("proj", name)[1] for name in ("old", "new"))
    await real.create(old)
    yield Scene(real, old, new)


async def test_the_recording_is_what_litellm_says(real: Real) -> None:
    real.table.write_text("{}")
    await real.read_all()
    _, told = await real.send("one", "GET", "/health/readiness/details", None)
    found, expected = await play(real.send, two_keys()), recorded()
    if not keeps_blanks(str(told["litellm_version"])):
        found, expected = without_blank(found), without_blank(expected)
    assert found == expected


def keeps_blanks(version: str) -> bool:
    """Before it, a blank value is read back from the table as what encryption made of it (docs/compatibility.md)."""
    return tuple(map(int, version.split(".")[:2])) >= (1, 106)


def without_blank(said: Any) -> Any:
    """Without what the conversation leaves blank."""
    if isinstance(said, list):
        return [without_blank(each) for each in said]
    return (
        {name: without_blank(each) for name, each in said.items() if name != "api_base"} if isinstance(said, dict) else said
    )


@pytest.mark.story("8: the reload that lied")
async def test_each_member_is_moved_on_the_wire_and_none_is_believed_before(scene: Scene) -> None:
    real, fleet = scene.real, scene.fleet()
    first, second = await fleet.members()
    assert [await real.sends(name) for name in real.members] == [scene.old.fingerprint()] * 2
    assert await scene.canary(scene.new) is Verdict.ACCEPTED
    assert await scene.canary(new_key()) is Verdict.REJECTED

    key = await fleet._current("openai-prod", scene.version)
    assert await fleet._write_once(first, "openai-prod", key)
    assert [await real.sends(name) for name in real.members] == [scene.new.fingerprint(), scene.old.fingerprint()]
    assert await scene.canary(real.members["two"]) is Verdict.ACCEPTED, "the call alone would have been believed"
    assert [await fleet.serving(member, "openai-prod") for member in (first, second)] == [None, None]

    for member in (first, second):
        await fleet.roll(member, "openai-prod", scene.version)
        assert await fleet.serving(member, "openai-prod") == scene.version
    assert [await real.sends(name) for name in real.members] == [scene.new.fingerprint()] * 2
    await fleet.aclose()


async def test_a_deployment_with_a_key_of_its_own_does_not_take_the_credential_s(scene: Scene) -> None:
    """Which is why docs/litellm.md says that it must have none."""
    assert await scene.real.sends("one", "own-1") == scene.real.own.fingerprint()


async def test_a_member_that_never_reads_the_table_sends_the_old_key_and_is_unknown(scene: Scene) -> None:
    scene.never, fleet = {"two"}, scene.fleet()
    first, second = await fleet.members()
    await fleet.roll(first, "openai-prod", scene.version)
    assert await scene.real.sends("two") == scene.old.fingerprint()
    assert await fleet.serving(second, "openai-prod") is None
    await fleet.aclose()


async def test_preflight_finds_the_deployments(scene: Scene) -> None:
    fleet = scene.fleet()
    findings: Any = await fleet._calls.users((await fleet.members())[0], NAME)
    assert findings == ("gpt-1", "own-1")
    await fleet.aclose()
