"""What runs write down: each moment that matters, in order, with its evidence; and that a log which fails stops nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flows.outcome import Result
from keyturn.assembly import Assembly
from keyturn.audit.files import files_of
from keyturn.audit.seal import Seal
from keyturn.audit.verify import records, verify
from keyturn.audit.writer import Audit, AuditSettings
from keyturn.errors import DeniedError, EvidenceMissingError, KeyturnError
from keyturn.evidence import Waiver
from keyturn.references import resolver
from keyturn.settings import SweepSettings
from keyturn.testing.world import World, new_key
from tests.steps import plain_flows


@pytest.fixture(autouse=True)
def without_prefect() -> Iterator[None]:
    with plain_flows.plainly():
        yield


class Audited:
    """A world whose workers write into one log."""

    def __init__(self, world: World, path: Path) -> None:
        self.world, self.path = world, path
        self.settings = AuditSettings(file=path)

    def worker(self) -> Assembly:
        made = self.world.worker()
        made.audit = Audit(self.settings, resolver())
        return made

    @property
    def told(self) -> list[dict[str, Any]]:
        return list(records(files_of(self.path), Seal()))

    @property
    def acts(self) -> list[str]:
        return [each["act"] for each in self.told]


@pytest.fixture
async def scene(tmp_path: Path) -> Audited:
    return Audited(await World.make(), tmp_path / "audit.jsonl")


async def test_a_rotation_and_its_end_are_written_down_with_their_evidence(scene: Audited) -> None:
    world = scene.world
    await plain_flows.rotate(scene.worker(), world.clock.now())
    assert scene.acts == ["asked", "created", "promoted", "rolled", "proved"]
    world.clock.forward(hours=2)
    await plain_flows.retire(scene.worker(), world.clock.now())
    asked, created, *_ = scene.told
    assert (asked["facts"]["flow"], asked["facts"]["why"], asked["credential"]) == ("rotate", "manual", "openai-prod")
    assert asked["by"]["host"]
    assert created["facts"]["key"] in world.provider.keys
    assert scene.acts[5:] == ["asked", "revoking", "revoked"]
    revoked = scene.told[-1]
    assert revoked["facts"]["key"] == world.first_key.ref.id
    (evidence,) = revoked["evidence"]
    assert evidence["key"] == world.first_key.ref.id
    assert [(each["member"], each["rule"], each["counts"]) for each in evidence["members"]] == [
        ("local/one", "answered", True),
        ("local/two", "answered", True),
    ]
    assert verify([scene.path], Seal()).is_well


async def test_a_revoke_that_is_refused_and_one_that_is_forced_say_why(scene: Audited) -> None:
    world = scene.world
    await plain_flows.rotate(scene.worker(), world.clock.now())
    world.clock.forward(hours=2)
    world.fleet.loaded["two"] = None
    with pytest.raises(EvidenceMissingError):
        await plain_flows.retire(scene.worker(), world.clock.now())
    assert scene.acts[-3:] == ["asked", "revoking", "refused"]
    assert "local/two: cannot be asked" in scene.told[-1]["facts"]["sentence"]
    await plain_flows.retire(scene.worker(), world.clock.now(), force=Waiver.MEMBERS_GONE)
    assert scene.acts[-3:] == ["asked", "forced", "revoked"]
    assert scene.told[-2]["facts"]["why"] == "members_gone"
    rules = {each["member"]: each["rule"] for each in scene.told[-1]["evidence"][0]["members"]}
    assert rules["local/two"] == "unknown"


async def test_a_leaked_key_that_goes_first_is_written_down_before_and_after(scene: Audited) -> None:
    world = scene.world
    world.clock.forward(seconds=2)
    await plain_flows.respond(scene.worker(), world.clock.now(), first=True)
    assert scene.acts[:5] == ["asked", "revoking", "revoked", "created", "promoted"]
    asked, revoking, revoked, *_ = scene.told
    assert (asked["facts"]["flow"], asked["facts"]["why"], asked["facts"]["first"]) == ("respond", "incident", "revoke")
    assert revoking["facts"]["texts"] == revoked["facts"]["texts"] == world.first_key.material.fingerprint()


async def test_a_rollback_by_hand_is_written_down(scene: Audited) -> None:
    await plain_flows.rotate(scene.worker(), scene.world.clock.now())
    await plain_flows.rollback(scene.worker())
    assert scene.acts[5:] == ["asked", "rolled back", "rolled", "proved"]


async def test_a_key_that_is_refused_is_given_up_and_in_the_end_parked(scene: Audited) -> None:
    scene.world.provider.refuses_new = True
    for _ in range(SweepSettings().park_after):
        with pytest.raises(KeyturnError):
            await plain_flows.rotate(scene.worker(), scene.world.clock.now())
        scene.world.clock.forward(hours=12)
    assert scene.acts[:4] == ["asked", "created", "undone", "failed"]
    assert scene.acts[-2:] == ["parked", "failed"]


async def test_what_was_not_allowed_is_told_as_refused(scene: Audited) -> None:
    scene.world.provider.fail["create"] = DeniedError("it may not")
    with pytest.raises(DeniedError):
        await plain_flows.rotate(scene.worker(), scene.world.clock.now())
    assert scene.acts == ["asked", "refused"]


async def test_a_stray_that_a_sweep_revokes_is_written_down(scene: Audited) -> None:
    world, worker = scene.world, scene.worker()
    await plain_flows.rotate(scene.worker(), world.clock.now())
    stray = world.provider.add(new_key(), worker.mark.label("12345678-1234-5234-9234-123456789abc"))
    world.clock.forward(minutes=90)
    await plain_flows.sweep(worker)
    assert stray.ref.id in world.provider.revoked
    assert {"key": stray.ref.id, "why": "a stray: nothing claims it"} in [each["facts"] for each in scene.told]


async def test_a_log_that_cannot_be_written_stops_nothing_and_is_told(scene: Audited) -> None:
    world, folder = scene.world, scene.path.parent / "gone"
    scene.settings = AuditSettings(file=folder / "audit.jsonl")
    worker = scene.worker()
    await plain_flows.rotate(worker, world.clock.now())
    told = [line.sentence for line in worker.timeline if line.step == "audit"]
    assert len(told) == 5 and all("NOT WRITTEN" in each for each in told)
    world.clock.forward(hours=2)
    outcome = await plain_flows.retire(worker, world.clock.now())
    assert outcome.result is Result.RETIRED, "a revoke is not stopped half-way"
    folder.mkdir()
    await plain_flows.rotate(worker, world.clock.now())
    acts = [each["act"] for each in records(files_of(scene.settings.file), Seal())]
    assert acts[:8] == ["asked", "created", "promoted", "rolled", "proved", "asked", "revoking", "revoked"], "written late"
    assert acts[8] == "asked"


async def test_a_disk_that_hangs_holds_up_no_run(scene: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(reference: str) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr("keyturn.audit.writer.LONGEST_SECONDS", 0.01)
    scene.settings = AuditSettings(file=scene.path, key="env:ANYTHING")
    worker = scene.worker()
    worker.audit = Audit(scene.settings, hangs)
    await plain_flows.rotate(worker, scene.world.clock.now())
    assert "(TimeoutError)" in next(line.sentence for line in worker.timeline if line.step == "audit")


async def test_no_key_is_in_the_log_of_whole_histories(scene: Audited) -> None:
    world = scene.world
    texts = {world.first_key.material.reveal()}
    made = world.provider.new_key

    def remembered() -> Any:
        material = made()
        texts.add(material.reveal())
        return material

    world.provider.new_key = remembered
    await plain_flows.rotate(scene.worker(), world.clock.now())
    world.clock.forward(hours=2)
    await plain_flows.retire(scene.worker(), world.clock.now())
    await plain_flows.rotate(scene.worker(), world.clock.now())
    await plain_flows.rollback(scene.worker())
    world.provider.refuses_new = True
    with suppress(KeyturnError):
        await plain_flows.rotate(scene.worker(), world.clock.now())
        await plain_flows.rotate(scene.worker(), world.clock.now())
    content = scene.path.read_text()
    assert len(texts) > 2
    assert not [text for text in texts if text in content or json.dumps(text) in content]
