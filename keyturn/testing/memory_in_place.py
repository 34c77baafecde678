"""A provider in memory that gives a key a new text, and the key stays: for models of the lifecycle."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keyturn.errors import ConflictError, LostAnswerError
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, Judgement, KeyRef, Verdict
from keyturn.testing.world import MemoryProvider


@dataclass
class MemoryInPlace(MemoryProvider):
    """It keeps one old text of a key beside its newest, and no more: whoever turns twice ends the one before the last.

    That is the worst that a vendor may do. `fading`: key id -> its old text, and until when that is accepted.
    `disabling_ends_both`: whether the old text of a key is refused, too, while that is disabled.
    """

    old_text_lives: timedelta | None = timedelta(hours=2)
    disabling_ends_both: bool = True
    fading: dict[str, tuple[KeyMaterial, datetime]] = field(default_factory=dict)
    turns: int = 0

    async def turn(self, key: KeyRef, expires_in: timedelta | None = None) -> CreatedKey:
        self._maybe_fail("turn")
        if key.id not in self.keys:
            raise ConflictError("there is no such key")
        ref, old = self.keys[key.id]
        self.turns += 1
        self.fading[key.id] = (old, self.clock.now() + (self.old_text_lives or timedelta(0)))
        material = self.new_key()
        text = material.reveal()
        turned = KeyRef(ref.id, ref.name, f"{text[:6]}...{text[-4:]}", "", ref.created_at, ref.last_used_at)
        self.keys[key.id] = (turned, material)
        if self.refuses_new:
            self.dud.add(key.id)
        if self.lose_answers:
            self.lose_answers -= 1
            raise LostAnswerError("the answer to a turn was lost")
        return CreatedKey(turned, material)

    async def revoke(self, key: KeyRef) -> None:
        await super().revoke(key)
        self.fading.pop(key.id, None)

    def try_out(self, fingerprint: str, *, is_use: bool) -> Judgement:
        for id, (old, ends) in self.fading.items():
            if (
                old.fingerprint() == fingerprint
                and self.clock.now() < ends
                and not (self.disabling_ends_both and id in self.disabled)
            ):
                return Judgement(Verdict.ACCEPTED, "the provider accepts it, for a while")
        return super().try_out(fingerprint, is_use=is_use)

    def knows(self, fingerprint: str) -> bool:
        return self.try_out(fingerprint, is_use=False).verdict is Verdict.ACCEPTED or super().knows(fingerprint)
