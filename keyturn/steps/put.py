"""put: the key that is in use today, into every secret of a credential that is not there yet. No rotation does this."""

from __future__ import annotations

from collections.abc import Callable

from keyturn.assembly import Assembly
from keyturn.errors import ConflictError, MisconfiguredError, NotFoundError, RejectedError
from keyturn.key_parts import taken_apart
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, Verdict


async def put(c: Assembly, given: Callable[[], KeyMaterial]) -> None:
    """Create what is missing. Safe to repeat, and quiet about what holds the value already.

    Where the deciding secret is there, its value is the one; else the one that is `given`, which nobody is asked for
    otherwise. Nothing is created before the provider was asked about the key, and every secret was looked at:
    RejectedError when it refuses the key, ConflictError when some secret holds another, MisconfiguredError for a key of
    several parts that cannot be taken apart.
    """
    there = {secret: await _held(c, index) for index, (secret, _) in enumerate(c.secrets)}
    missing = [secret for secret, held in there.items() if held is None]
    if not missing:
        c.say("put", "every secret is there already")
        return
    decider = there[c.decider[0]]
    material = given() if decider is None else decider.material
    for secret, held in there.items():
        if held is not None and held.material != material:
            raise ConflictError(
                f"{secret} holds another key than the one to put; nothing was created",
                remedy="look which of them is in use, and write that one there by hand",
            )
    if c.parts:
        taken_apart(material, c.parts)
    await _check(c, material)
    for secret, store in c.secrets:
        if secret in missing:
            await store.create(secret, material)
            c.say("put", f"{secret} is created")


async def _held(c: Assembly, index: int) -> HeldKey | None:
    secret, store = c.secrets[index]
    try:
        return await store.current(secret)
    except NotFoundError:
        return None


async def _check(c: Assembly, material: KeyMaterial) -> None:
    judgement = await c.provider.check(material)
    if judgement.verdict is Verdict.REJECTED:
        raise RejectedError(
            f"the provider refuses this key ({judgement.reason}); nothing was created",
            remedy="give the key that is in use today",
        )
    sure = judgement.verdict is Verdict.ACCEPTED
    c.say("put", "the provider accepts the key" if sure else f"whether it is accepted could not be told: {judgement.reason}")


def from_text(text: str) -> KeyMaterial:
    """The key in what somebody typed or piped. One newline at its end is not part of it."""
    fault, material = "", None
    try:
        material = KeyMaterial(text.removesuffix("\n").removesuffix("\r"))
    except ValueError as error:
        fault = str(error)
    if material is None:
        raise MisconfiguredError(f"what was given is no key: {fault}", remedy="give it on standard input, and nothing else")
    return material
