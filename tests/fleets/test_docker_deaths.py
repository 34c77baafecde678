"""A worker dies at every call that changes something, before it and during it: the next one ends the roll.

A worker keeps nothing, so one that dies where it looks is one that died after its last change. No member is started twice
for one key, none is lost, no container is left over, and where two may run side by side one serves at every moment.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from keyturn.errors import RollFailedError
from keyturn.fleets.docker import DockerFleet
from keyturn.model import HeldKey, Member
from keyturn.testing.docker_programs import Played
from tests.fleets.docker_scene import Death, Died, Scene, Wire

KEY = "openai-prod"
FIXED = {"HostConfig": {"PortBindings": {"4000/tcp": [{"HostIp": "", "HostPort": "14000"}]}}}
NO_POLICY = {"RestartPolicy": {"Name": "no"}}
DEATHS = pytest.mark.parametrize("death", list(Death), ids=[each.value for each in Death])

WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "restart": ({"roll": "restart"}, {}),
    "restart, one after the other": ({"roll": "restart", "serial": True}, {}),
    "side by side": ({"roll": "recreate"}, {}),
    "stop first": ({"roll": "recreate"}, FIXED),
}
ALL = pytest.mark.parametrize("way", WAYS)
RECREATED = pytest.mark.parametrize("way", ["side by side", "stop first"])


async def scene_of(way: str, **more: Any) -> tuple[Scene, Member, HeldKey]:
    """One member that serves, and the key that it served when another became CURRENT."""
    settings, body = WAYS[way]
    scene = Scene(**settings, poll_interval="50s" if settings["roll"] == "recreate" else "5s", roll_timeout="200s")
    host = {**body.get("HostConfig", {}), **more}
    await scene.start(1, **{"HostConfig": host} if host else {})
    fleet = await scene.ready()
    (member,) = await fleet.members()
    old = scene.current
    scene.turn()
    return scene, member, old


async def roll(scene: Scene, wire: Wire, member: Member, version: HeldKey | None = None) -> None:
    """By a worker of its own."""
    fleet = scene.fleet(wire)
    await fleet.roll(member, KEY, (version or scene.current).version)


async def changes_of(way: str, prepare: Callable[[Scene, HeldKey], None] = lambda scene, new: None) -> list[int]:
    """The numbers of the calls that change something, of a roll that nobody disturbs; and the one after all of them."""
    scene, member, _ = await scene_of(way, **NO_POLICY)
    prepare(scene, scene.current)
    wire = Wire(scene)
    with suppress(RollFailedError):
        await roll(scene, wire, member)
    return changes(wire)


def changes(wire: Wire) -> list[int]:
    return [number for number, call in enumerate(wire.calls) if not call.startswith("GET ")]


def in_turn(points: list[int]) -> list[tuple[int, Death]]:
    """Every point, with one kind of death and then the other."""
    return list(zip(points, itertools.cycle(Death), strict=False))


async def dies(scene: Scene, member: Member, at: int, death: Death) -> Wire:
    wire = Wire(scene, at, death)
    with pytest.raises((Died, RollFailedError)):
        await roll(scene, wire, member)
        raise Died  # it had fewer calls to make
    return wire


def watched(scene: Scene) -> list[str]:
    """Each moment at which nobody served, by the call that made it so."""
    empty: list[str] = []

    def look(request: httpx.Request) -> None:
        if not any(each.runs for each in scene.engine.containers.values()):
            empty.append(request.url.path)

    scene.watchers.append(look)
    return empty


async def all_is_well(scene: Scene, member: Member) -> None:
    assert scene.names() == [member.name]
    assert await scene.fleet().serving(member, KEY) == scene.current.version
    assert scene.engine.starts == 2, "one before the roll, and one for it"


@DEATHS
@ALL
async def test_the_next_worker_ends_the_roll(way: str, death: Death) -> None:
    points = await changes_of(way)
    assert len(points) >= 2
    for at in points:
        scene, member, _ = await scene_of(way)
        empty = watched(scene)
        wire = await dies(scene, member, at, death)
        await roll(scene, Wire(scene), member)
        await wire.ended()
        await all_is_well(scene, member)
        if way == "side by side":
            assert empty == []


@ALL
async def test_also_when_that_one_dies_too(way: str) -> None:
    points, chance = await changes_of(way), random.Random(7)  # which histories are looked at
    for at in points:
        scene, member, _ = await scene_of(way)
        wires = [
            await dies(scene, member, at, chance.choice(list(Death))),
            await dies(scene, member, chance.choice(points), chance.choice(list(Death))),
        ]
        await roll(scene, Wire(scene), member)
        for wire in wires:
            await wire.ended()
        await all_is_well(scene, member)


@ALL
async def test_two_workers_at_once_are_one_start(way: str) -> None:
    for ahead in (0, 1, 3, 6):
        scene, member, _ = await scene_of(way)

        async def later(scene: Scene = scene, member: Member = member, ahead: int = ahead) -> None:
            for _ in range(ahead * 9):
                await asyncio.sleep(0)
            await roll(scene, Wire(scene), member)

        await asyncio.gather(roll(scene, Wire(scene), member), later())
        assert scene.names() == [member.name]
        assert await scene.fleet().serving(member, KEY) == scene.current.version
        if way != "restart, one after the other":
            assert scene.engine.starts == 2


@RECREATED
async def test_a_roll_onto_a_later_key_clears_up_what_an_earlier_one_left(way: str) -> None:
    for at, death in in_turn(await changes_of(way)):
        scene, member, _ = await scene_of(way)
        empty = watched(scene)
        wire = await dies(scene, member, at, death)
        scene.turn()
        await roll(scene, Wire(scene), member)
        await wire.ended()
        assert scene.names() == [member.name]
        assert await scene.fleet().serving(member, KEY) == scene.current.version
        if way == "side by side":
            assert empty == []


def refuses(scene: Scene, new: HeldKey) -> None:
    scene.play = lambda played: played.refuses.add(new.material.reveal())


def stalls(scene: Scene, new: HeldKey) -> None:
    scene.play = lambda played: played.stalls.add(new.material.reveal())


@pytest.mark.parametrize("fault", [refuses, stalls], ids=["ends at once", "is never ready"])
@RECREATED
async def test_who_cannot_take_the_new_key_serves_the_old_one(way: str, fault: Any) -> None:
    for at, death in in_turn(await changes_of(way, fault)):
        scene, member, old = await scene_of(way, **NO_POLICY)
        (before,) = scene.engine.containers
        empty = watched(scene)
        fault(scene, scene.current)
        wire = await dies(scene, member, at, death)
        with pytest.raises(RollFailedError, match="The old container serves"):
            await roll(scene, Wire(scene), member)
        await wire.ended()
        assert list(scene.engine.containers) == [before], "the very container, and nothing beside it"
        fleet: DockerFleet = scene.fleet()
        await scene.until(fleet, member)
        assert await fleet.serving(member, KEY) == old.version
        if way == "side by side":
            assert empty == []


@DEATHS
@pytest.mark.parametrize(("stopping", "reading"), [(0, 3), (20, 1)])
@pytest.mark.parametrize("way", ["restart", "restart, one after the other"])
async def test_a_restart_is_not_asked_for_twice_however_long_it_takes(
    way: str, stopping: int, reading: int, death: Death
) -> None:
    """Above all while its program drains still: the engine tells nothing of that, and the old key is what is seen."""
    scene, member, _ = await scene_of(way)
    played: Played = scene.programs[0]
    played.stopping, played.reading = stopping, reading
    clean = Wire(scene)
    await roll(scene, clean, member)
    for at in changes(clean):
        scene, member, _ = await scene_of(way)
        scene.programs[0].stopping, scene.programs[0].reading = stopping, reading
        wire = await dies(scene, member, at, death)
        await roll(scene, Wire(scene), member)
        await wire.ended()
        await all_is_well(scene, member)


async def test_a_restart_that_was_only_written_down_is_made() -> None:
    """Its worker died between the note and the call: it is waited for, as long as one may take, and no longer."""
    scene, member, _ = await scene_of("restart")
    wire = Wire(scene)
    await roll(scene, wire, member)
    at = next(number for number, call in enumerate(wire.calls) if call.endswith("/restart"))
    scene, member, _ = await scene_of("restart")
    await dies(scene, member, at, Death.BEFORE)
    assert scene.engine.starts == 1
    played = scene.programs[0]
    content, when = played.files["/run/keyturn/state.json.restart"]
    with pytest.raises(RollFailedError, match="it read another one"):
        await scene.fleet(roll_timeout="95s").roll(member, KEY, scene.current.version)
    assert scene.engine.starts == 1, "the engine might be at it"
    played.files["/run/keyturn/state.json.restart"] = (content.replace(b'"at": 1', b'"at": 0'), when)
    await roll(scene, Wire(scene), member)
    await all_is_well(scene, member)


class Between(Wire):
    """Another worker comes as far as it can, between this one's look for a successor and its look at the member."""

    other: Any = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.other is not None and request.url.path.endswith("/llm-proxy-1/json"):
            other, self.other = self.other, None
            await other()
        return await super().handle_async_request(request)


@RECREATED
@pytest.mark.parametrize("verb", ["DELETE", "rename"])
async def test_two_looks_of_two_moments_are_not_taken_for_a_member_that_is_lost(way: str, verb: str) -> None:
    """No successor yet, and then an old one that is stopped, or gone: seen at an engine under load."""
    scene, member, _ = await scene_of(way)
    clean = Wire(scene)
    await roll(scene, clean, member)
    at = next(number for number, call in enumerate(clean.calls) if verb in call)
    scene, member, _ = await scene_of(way)

    async def other() -> None:
        await dies(scene, member, at, Death.BEFORE)

    wire = Between(scene)
    wire.other = other
    await roll(scene, wire, member)
    await all_is_well(scene, member)


@ALL
async def test_two_credentials_at_once_do_not_undo_each_other(way: str) -> None:
    """Each is rolled by a worker of its own; the programs end slowly, and time is short."""
    for ahead in (0, 1, 2, 4, 7):
        scene, member, _ = await scene_of(way)
        for played in scene.programs:
            played.stopping = 20
        scene.play = lambda played: setattr(played, "stopping", 20)
        scene.turn_other()
        empty = watched(scene)

        async def later(scene: Scene = scene, member: Member = member, ahead: int = ahead) -> None:
            for _ in range(ahead * 9):
                await asyncio.sleep(0)
            await scene.fleet(Wire(scene)).roll(member, "other", scene.other.version)

        await asyncio.gather(roll(scene, Wire(scene), member), later())
        assert scene.names() == [member.name]
        fleet = scene.fleet()
        await scene.until(fleet, member)
        assert await fleet.serving(member, KEY) == scene.current.version
        assert await fleet.serving(member, "other") == scene.other.version
        assert scene.engine.starts <= 3
        if way == "side by side":
            assert empty == []
