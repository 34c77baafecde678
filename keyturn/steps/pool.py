"""What the steps do with keys of a pool: one that is not needed goes back, and one that is refused goes out of it."""

from __future__ import annotations

from contextlib import suppress

from keyturn.assembly import Assembly
from keyturn.errors import ByHandError, MisconfiguredError
from keyturn.journal import UNKNOWN, hint_in
from keyturn.model import KeyRef, Verdict
from keyturn.ports import Pooled


def pool_of(c: Assembly) -> Pooled:
    """The provider, which has to have a pool."""
    if isinstance(c.provider, Pooled):
        return c.provider
    raise MisconfiguredError(
        f"the provider {c.settings.provider} has no pool of keys: it makes them itself",
        remedy="`keyturn providers` shows which kinds have one",
    )


async def put_back(c: Assembly, step: str, key: KeyRef) -> None:
    """A key that a rotation took, and that nobody can come to serve any more: free again for another.

    One that is refused is ended instead, and forgotten; but not one that was taken a moment ago, since a fresh key may be
    refused for a while.
    """
    pool = pool_of(c)
    material = await pool.text_of(key)
    if material is None:
        return
    is_old = key.created_at is not None and c.now() - key.created_at > c.propagation
    if is_old and (await c.judge(material)).verdict is Verdict.REJECTED:
        with suppress(ByHandError):  # it is refused: there is nothing left to do for a person
            await pool.end(key, material)
        await pool.forget(key)
        c.say(step, f"{key.id} of the pool is refused: its place is empty")
        return
    await pool.put_back(key)
    c.say(step, f"{key.id} is free in the pool again")


async def ref_in_pool(c: Assembly, fingerprint: str, key_id: str) -> KeyRef:
    """The key of this text as it is listed. One of a person that cannot be told from others has no id."""
    keys = await c.provider.list()
    found = next((key for key in keys if key.fingerprint == fingerprint), None)
    found = found or next((key for key in keys if key.id == key_id), None)
    return found or KeyRef("" if key_id == UNKNOWN else key_id, "", hint_in(key_id), fingerprint=fingerprint)
