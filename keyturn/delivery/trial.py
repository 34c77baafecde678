"""What a supervisor concludes from the proof of its new keys: which of them go back, and in which words."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from keyturn.delivery.child import Child
from keyturn.delivery.readiness import NotReadyError
from keyturn.errors import RejectedError
from keyturn.model import Verdict

if TYPE_CHECKING:
    from keyturn.delivery.own_proof import Found, OwnProof

log = logging.getLogger(__name__)

T = TypeVar("T")


class Trial:
    """`proof` None: a program that is ready is believed."""

    def __init__(self, proof: OwnProof | None) -> None:
        self._proof = proof
        self.undecided: list[str] = []

    async def no_way_back(self, turned: Collection[str]) -> set[str]:
        """Whose key is refused while it is still in service: going back to it would be worse than anything."""
        self.undecided = []
        return await self._proof.refused_already(turned) if self._proof is not None else set()

    async def failing(
        self, turned: Collection[str], no_way_back: Collection[str], child: Child | None = None
    ) -> Mapping[str, Found]:
        """Whose new key does not work in this program, and has to give way to the old one.

        NotReadyError: `child` has ended meanwhile.
        """
        if self._proof is None:
            return {}
        found = await _while_it_runs(child, self._proof.failing(turned))
        for name in found.keys() & set(no_way_back):
            log.error("the new key of %s does not work here: %s; nor does the old one", name, found[name].words)
        return {name: each for name, each in found.items() if name not in no_way_back}

    async def old_keys(self, back: Mapping[str, Found]) -> str:
        """What one look says of the old keys that are in their place again: more words, for they are served all the same.

        Where an old key is not answered either, and the new one was not rejected, nothing is known: `undecided`.
        """
        if self._proof is None or not back:
            return ""
        found = await self._proof.served_again(back)
        self.undecided = [
            name for name, new in back.items() if not found[name].accepted and new.verdict is not Verdict.REJECTED
        ]
        return f"; nor is the old one answered: {told(found)}" if self.undecided else ""

    async def first(self, names: Collection[str], child: Child) -> None:
        """RejectedError for a key that is clearly refused, where a start is to be proved. An outage keeps nobody down."""
        if self._proof is None or not self._proof.at_start:
            return
        if refused := await _while_it_runs(child, self._proof.clearly_refused(names)):
            raise RejectedError(f"not started: {told(refused)}", remedy="look at the key, and at what this host may call")

    def told(self) -> dict[str, Any]:
        """For the member's status."""
        return {"undecided": self.undecided, **(self._proof.told() if self._proof is not None else {})}

    async def aclose(self) -> None:
        if self._proof is not None:
            await self._proof.aclose()


def told(found: Mapping[str, Found]) -> str:
    """In one line."""
    return "; ".join(f"{name}: {each.words}" for name, each in found.items())


async def _while_it_runs(child: Child | None, asking: Coroutine[Any, Any, T]) -> T:
    task = asyncio.create_task(asking)
    try:
        await asyncio.wait({task} if child is None else {task, child.ended}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and child is not None:
            code = child.ended.result()
            raise NotReadyError(f"it ended with code {code}", code)
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
