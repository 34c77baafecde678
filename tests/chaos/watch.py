"""What must hold at every moment: looked at after each effect of any worker, past every gate."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import httpx

from tests.chaos.world import Spot, World


class Watch:
    """Eyes on one world. Facts are sentences with fingerprints, never keys.

    `outages`: moments at which what a secret or a member held was refused by the provider. `lost`: what stood beside a
    key was changed, or a promoted key was overwritten by the one before. `promoted`: credential -> its keys, as they
    became CURRENT one after the other.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.looks = 0
        self.outages: list[str] = []
        self.lost: list[str] = []
        self.promoted: dict[str, list[str]] = {}
        self._beside: dict[Spot, str] = {}

    async def begin(self) -> None:
        """From here on: what is there now is how it should be."""
        self.outages, self.lost = [], []
        held = await self.world.held()
        self._beside = {spot: each.beside for spot, each in held.items()}
        self.promoted = {each.name: [held[each.spots[0]].fingerprint] for each in self.world.credentials}

    async def look(self, after: str) -> None:
        """Now. A store that cannot be asked (sealed, say) tells nothing, and is no outage."""
        self.looks += 1
        try:
            served = await self._served()
        except httpx.HTTPStatusError:
            return
        refused = await self._refused(served.values())
        # Between the two questions others may have gone on: only what is held before and after was refused while held.
        if refused:
            again = await self._served()
            for place, fingerprint in served.items():
                if fingerprint in refused and again.get(place) == fingerprint:
                    self._complain(self.outages, f"{place} holds {fingerprint}, which the provider refuses, after {after}")

    async def _served(self) -> dict[str, str]:
        """Place -> the fingerprint there: every secret, and every member that has loaded a key."""
        held, members = await asyncio.gather(
            self.world.held(), asyncio.gather(*(self.world.member(n) for n in range(self.world.shape.members)))
        )
        for each in self.world.credentials:
            self._follow(each.name, held[each.spots[0]].fingerprint)
        for spot, found in held.items():
            if found.beside != self._beside[spot]:
                self._complain(self.lost, f"what stands beside {spot.field or 'the key'} in {spot.store} was changed")
        served = {f"{spot.store}:{spot.path}#{spot.field or ''}": found.fingerprint for spot, found in held.items()}
        for n, status in enumerate(members, 1):
            for name, version in status["versions"].items():
                served[f"member {n}, {name}, process {status['pid']}"] = version["fingerprint"]
        return served

    def _follow(self, credential: str, fingerprint: str) -> None:
        promoted = self.promoted[credential]
        if fingerprint == promoted[-1]:
            return
        if fingerprint in promoted:
            self._complain(
                self.lost, f"{credential}: {promoted[-1]} was overwritten by {fingerprint}, which it had replaced"
            )
        promoted.append(fingerprint)

    async def _refused(self, fingerprints: Iterable[str]) -> set[str]:
        wanted = set(fingerprints)
        found = await self.world.outside.provider_keys(fingerprint=sorted(wanted))
        return wanted - {key["fingerprint"] for key in found if key["accepted"]}

    @staticmethod
    def _complain(list_: list[str], fact: str) -> None:
        if fact not in list_:
            list_.append(fact)
