"""Keys that a person gives, into the pool: each is tried first, as a rotation would try it. No rotation does this."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from keyturn.assembly import Assembly
from keyturn.errors import KeyturnError
from keyturn.material import KeyMaterial
from keyturn.model import Judgement, Verdict
from keyturn.steps.pool import pool_of

PAUSE = 5.0  # seconds, while a fresh key may be refused


@dataclass(frozen=True, slots=True)
class Filled:
    """What became of one key. `place`: where it is; "" where it was not taken."""

    number: int
    hint: str
    place: str
    sentence: str


async def fill(
    c: Assembly, given: Sequence[KeyMaterial], in_use: Collection[str], expires_at: datetime | None = None
) -> Sequence[Filled]:
    """One after the other: what is wrong with one keeps no other out. `in_use`: fingerprints that are not to be pooled."""
    done: list[Filled] = []
    for number, material in enumerate(given, 1):
        try:
            place, sentence = await _one(c, material, in_use, expires_at)
        except KeyturnError as error:
            place, sentence = "", error.message
        done.append(Filled(number, material.last_four(), place, sentence))
        c.say("pool", f"key {number} ({material.last_four()}): {place or 'not taken'}: {sentence}")
    return done


async def _one(c: Assembly, material: KeyMaterial, in_use: Collection[str], expires_at: datetime | None) -> tuple[str, str]:
    pool, fingerprint = pool_of(c), material.fingerprint()
    if fingerprint in in_use:
        return "", "this key is in use already: a pool holds keys that nobody uses"
    if expires_at is not None and expires_at <= c.now():
        return "", "it has ended already"
    if any(entry.key and entry.key.fingerprint == fingerprint for entry in await pool.entries()):
        return "", "this key is in the pool already"
    found = await _tried(c, material)
    if found.verdict is not Verdict.ACCEPTED:
        return "", f"it is {'refused' if found.verdict is Verdict.REJECTED else 'not known to work'}: {found.reason}"
    return (await pool.put_in(material, expires_at)).place, found.reason


async def _tried(c: Assembly, material: KeyMaterial) -> Judgement:
    """The provider's word, where it has one, and LiteLLM's. A fresh key may be refused for a while."""
    begun = c.now()
    while True:
        found = await c.judge(material)
        if found.verdict is Verdict.ACCEPTED and c.provider.capabilities.can_check:
            found = await c.canary.candidate(material)
        if found.verdict is not Verdict.REJECTED or c.now() - begun >= c.propagation:
            return found
        await c.pause(PAUSE)
