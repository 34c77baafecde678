"""What must hold at every moment: looked at after each effect of any worker, past every gate."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain

import httpx

from keyturn.errors import KeyturnError
from tests.chaos.inside import held, journal
from tests.chaos.vendors.rules import Seen
from tests.chaos.world import Spot, World

REFUSED = "which the provider refuses"


class Watch:
    """Eyes on one world. Facts are sentences with fingerprints, never keys.

    `outages`: moments at which what a secret or a member held was refused by the provider, or a member had no supervisor.
    `lost`: what stood beside a key was changed, or a promoted key was overwritten by one that it had replaced, without a
    rollback. `promoted`: credential -> its keys, as they became CURRENT one after the other. `held`: what any stage was seen
    to hold, where the shape of provider has that watched. `excused`: why a refusal in this case is the vendor's.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.looks = 0
        self.outages: list[str] = []
        self.lost: list[str] = []
        self.promoted: dict[str, list[str]] = {}
        self.held: set[str] = set()
        self.excused = ""
        self._taken_back: set[str] = set()
        self._beside: dict[Spot, str] = {}
        self._looking = asyncio.Lock()  # two looks at once would tell an older state after a newer one

    async def begin(self) -> None:
        """From here on: what is there now is how it should be."""
        self.looks, self.excused = 0, ""
        self.outages, self.lost, self._taken_back, self.held = [], [], set(), set()
        told = await self.world.held()
        self._beside = {spot: each.beside for spot, each in told.items()}
        self.promoted = {each.name: [told[each.spots[0]].fingerprint] for each in self.world.credentials}

    def seen(self, current: Mapping[str, str]) -> Seen:
        """For the rules about a vendor's keys. `current`: credential -> the fingerprint of its key in service."""
        served = set(chain.from_iterable(self.promoted.values()))
        return Seen(set(current.values()), self.world.by_hand, self.world.bystanders, served, self.held)

    async def look(self, after: str) -> None:
        """Now. A store that cannot be asked (sealed, say) tells nothing, and is no outage."""
        async with self._looking:
            self.looks += 1
            try:
                served = await self._served(after)
                refused = await self._refused(served.values())
                # Between the two questions others may have gone on: what is held before and after was refused while held.
                again = await self._served(after) if refused else {}
            except httpx.HTTPStatusError:
                return
            if self.world.account.watches_stages:
                with suppress(KeyturnError):  # a store that cannot be asked
                    self.held |= set(chain(*[await held(self.world, each.name) for each in self.world.credentials]))
        for place, fingerprint in served.items():
            if fingerprint in refused and again.get(place) == fingerprint:
                _complain(self.outages, f"{place} holds {fingerprint}, {REFUSED}, after {after}")

    async def _served(self, after: str) -> dict[str, str]:
        """Place -> the fingerprint there: every secret, and every member that has loaded a key."""
        told, members = await asyncio.gather(self.world.held(), self.world.fleet.statuses())
        for each in self.world.credentials:
            await self._follow(each.name, told[each.spots[0]].fingerprint, after)
        for spot, found in told.items():
            if found.beside != self._beside[spot]:
                _complain(self.lost, f"what stands beside {spot.field or 'the key'} in {spot.store} was changed")
        served = {f"{spot.store}:{spot.path}#{spot.field or ''}": found.fingerprint for spot, found in told.items()}
        for member, status in members.items():
            if status is None:
                _complain(self.outages, f"the supervisor of {member.name} has ended, after {after}")
                continue
            for name, version in status["versions"].items():
                served[f"{member.name}, {name}, process {status['pid']}"] = version["fingerprint"]
        return served

    async def _follow(self, credential: str, fingerprint: str, after: str) -> None:
        """A key that has been CURRENT before comes back by a rollback, or because one of those is tried again."""
        promoted = self.promoted[credential]
        was = promoted[-1]
        if fingerprint == was:
            return
        if fingerprint in self._taken_back:
            self._taken_back.discard(fingerprint)
        elif fingerprint in promoted:
            if (await journal(self.world, credential)).back_from == was:
                self._taken_back.add(was)
            else:
                sentence = f"{credential}: {was} was overwritten by {fingerprint}, which it had replaced, after {after}"
                _complain(self.lost, sentence)
        promoted.append(fingerprint)

    async def _refused(self, fingerprints: Iterable[str]) -> set[str]:
        return await self.world.account.refused(set(fingerprints))


def _complain(list_: list[str], fact: str) -> None:
    if fact not in list_:
        list_.append(fact)
