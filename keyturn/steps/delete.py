"""delete: what a step does that has decided that a key goes."""

from __future__ import annotations

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, NotFoundError
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef
from keyturn.ports import RevokesByText
from keyturn.steps.in_place import has_other_texts


async def drop(c: Assembly, step: str, key: KeyRef, fingerprint: str, material: KeyMaterial | None) -> bool:
    """Delete a key whose text was never in service. False, and nothing is done, where another text of it is, or was."""
    if await has_other_texts(c, key.id, fingerprint):
        c.say(step, f"{key.id} stays, which has a text in service: the new one of it is given up")
        return False
    await delete(c, key, material)
    return True


async def delete(c: Assembly, key: KeyRef, material: KeyMaterial | None) -> None:
    """Delete one key at the provider. Absent is success.

    Some providers know a key by its text alone: there it is logged in with what is CURRENT. ConflictError when that is the
    key itself, NotFoundError when its text is held nowhere any more.
    """
    if not isinstance(c.provider, RevokesByText):
        await c.provider.revoke(key)
        return
    if material is None:
        raise NotFoundError(
            "the provider deletes a key by its text alone, and that is held nowhere any more",
            remedy="delete it in the provider's console",
        )
    secret, store = c.decider
    successor = (await store.current(secret)).material
    if successor == material:
        raise ConflictError(f"the key is what {secret} tells the proxies to use: not revoked")
    await c.provider.revoke_text(material, successor)


def needs_no_id(c: Assembly) -> bool:
    """Whether a key can go whose id is not known, by its text."""
    return isinstance(c.provider, RevokesByText)
