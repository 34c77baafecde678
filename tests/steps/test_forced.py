"""A person has an old key revoked without all of its evidence: for a reason that is kept, and never into an outage."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from flows.outcome import Result
from keyturn.assembly import Assembly
from keyturn.errors import EvidenceMissingError, PermanentError
from keyturn.evidence import Rule, Waiver
from keyturn.journal import Journal
from keyturn.model import Judgement, Member, Verdict
from keyturn.testing.world import MemoryCanary, World
from tests.steps import plain_flows


async def rotated() -> World:
    """The overlap is over; the old key is to go."""
    world = await World.make()
    await plain_flows.rotate(world.worker(), world.clock.now())
    world.clock.forward(hours=2)
    return world


async def journal_of(world: World) -> Journal:
    return Journal.parse(await world.store.annotations(world.secret))


def is_gone(world: World) -> bool:
    return world.first_key.ref.id in world.provider.revoked


async def test_a_member_that_is_gone_keeps_no_old_key_once_a_person_says_so() -> None:
    world = await rotated()
    world.fleet.loaded["two"] = None
    with pytest.raises(EvidenceMissingError, match="local/two: cannot be asked"):
        await plain_flows.retire(world.worker(), world.clock.now())
    assert not is_gone(world)
    await plain_flows.retire(world.worker(), world.clock.now(), force=Waiver.MEMBERS_GONE)
    assert is_gone(world)
    assert (await journal_of(world)).proof.endswith("forced members_gone")


async def test_a_use_that_is_explained_keeps_no_old_key() -> None:
    world = await rotated()
    world.provider.used(world.first_key.ref.id)
    with pytest.raises(EvidenceMissingError, match="saw the old key used"):
        await plain_flows.retire(world.worker(), world.clock.now(), now=True)
    for force in (None, Waiver.MEMBERS_GONE):  # it is watched for another overlap, which no haste cuts short
        outcome = await plain_flows.retire(world.worker(), world.clock.now(), now=True, force=force)
        assert outcome.result is Result.NOTHING
        assert not is_gone(world)
    await plain_flows.retire(world.worker(), world.clock.now(), now=True, force=Waiver.USE_EXPLAINED)
    assert is_gone(world)


@pytest.mark.parametrize("force", Waiver)
async def test_no_reason_lets_a_key_go_that_a_member_is_known_to_serve(force: Waiver) -> None:
    world = await rotated()
    world.fleet.loaded["two"] = (await world.store.stages(world.secret))["previous"]  # type: ignore[index]
    with pytest.raises((EvidenceMissingError, PermanentError)):
        await plain_flows.retire(world.worker(), world.clock.now(), force=force)
    assert not is_gone(world)


@pytest.mark.parametrize("force", Waiver)
async def test_no_reason_lets_a_key_go_that_the_secret_tells_to_use(force: Waiver) -> None:
    world = await rotated()
    world.change_by_hand(world.first_key.material)
    outcome = await plain_flows.retire(world.worker(), world.clock.now(), force=force)
    assert outcome.result is Result.NOTHING
    assert not is_gone(world)


@dataclass
class Fading(MemoryCanary):
    """One member answers when it has just been moved, and then no call any more; it still tells which key it serves."""

    asked: list[str] = field(default_factory=list)

    async def member(self, member: Member) -> Judgement:
        self.asked.append(member.name)
        if self.asked.count("two") > 1 and member.name == "two":
            return Judgement(Verdict.INDETERMINATE, "it does not answer")
        return await super().member(member)


async def test_a_rotation_that_cannot_be_proved_has_not_to_be_finished_first() -> None:
    world = await World.make()
    canary = Fading(world.provider, world.fleet)

    def worker() -> Assembly:
        made = world.worker()
        made.canaries = {"local": canary}
        return made

    for _ in range(2):
        with pytest.raises(EvidenceMissingError, match="local/two"):
            await plain_flows.rotate(worker(), world.clock.now())
    world.clock.forward(hours=2)
    with pytest.raises(PermanentError, match="not finished"):
        await plain_flows.retire(worker(), world.clock.now(), now=True)
    assert not is_gone(world)
    with pytest.raises(EvidenceMissingError, match="local/two"):
        await plain_flows.retire(worker(), world.clock.now(), force=Waiver.USE_EXPLAINED)
    assert not is_gone(world)
    await plain_flows.retire(worker(), world.clock.now(), force=Waiver.MEMBERS_GONE)
    assert is_gone(world)


async def test_why_it_was_forced_is_kept_before_anything_is_revoked() -> None:
    world = await rotated()
    world.fleet.loaded["two"] = None
    world.provider.fail["revoke"] = PermanentError("the provider says no")
    with pytest.raises(PermanentError):
        await plain_flows.retire(world.worker(), world.clock.now(), force=Waiver.LEAKED)
    assert not is_gone(world)
    assert (await journal_of(world)).proof == "members 1/2 idle forced leaked"


async def test_what_a_rotation_was_proved_by_is_shown_and_kept() -> None:
    world = await World.make()
    worker = world.worker()
    await plain_flows.rotate(worker, world.clock.now())
    (evidence,) = worker.evidence
    assert [(each.name, each.rule) for each in evidence.members] == [
        ("local/one", Rule.ANSWERED),
        ("local/two", Rule.ANSWERED),
    ]
    assert (evidence.key, evidence.idle) == (world.first_key.ref.id, True)
    assert evidence.rolled_at is not None
    assert (await journal_of(world)).proof == "members 2/2 idle"
    world.clock.forward(hours=2)
    world.provider.verdict = Judgement(Verdict.INDETERMINATE, "it does not answer")
    late = world.worker()
    with pytest.raises(EvidenceMissingError):
        await plain_flows.retire(late, world.clock.now())
    assert (await journal_of(world)).proof == "members 2/2 idle", "what did not suffice is not kept as proof"
