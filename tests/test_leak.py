"""Who holds the key of a fingerprint: in which stage, or in the notes alone; and who could not be asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from keyturn.errors import UnavailableError
from keyturn.journal import notes
from keyturn.leak import Holder, holders
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage
from keyturn.stores.memory import MemoryStore
from keyturn.testing.world import new_key

TOKEN = "2b1c8a1e-7a55-4a5e-9d1f-0d8f4a6f1c11"


class Sealed:
    """A store that cannot be read."""

    async def stages(self, secret: SecretRef) -> Any:
        raise UnavailableError("it is sealed")


def world(**stores: Any) -> tuple[Any, Any]:
    """A credential for each store, of the same name."""
    settings = {name: SimpleNamespace(secrets=[SimpleNamespace(store=name, ref=SecretRef(name, "key"))]) for name in stores}
    config = SimpleNamespace(credentials=settings, credential=settings.__getitem__)
    return config, SimpleNamespace(store=stores.__getitem__)


async def test_each_stage_is_looked_at_and_then_the_notes() -> None:
    old, new, gone = new_key(), new_key(), new_key()
    store = MemoryStore({"key": old.reveal()})
    secret = SecretRef("one", "key")
    await store.stage(secret, new, TOKEN)
    await store.annotate(secret, notes(keys={gone.fingerprint(): "key_9"}))
    config, adapters = world(one=store, two=MemoryStore({"key": new_key().reveal()}))

    async def found(key: KeyMaterial) -> tuple[Holder, ...]:
        return (await holders(config, adapters, key.fingerprint())).found

    assert await found(old) == (Holder("one", Stage.CURRENT),)
    assert await found(new) == (Holder("one", Stage.PENDING),)
    assert await found(gone) == (Holder("one", None),)
    assert await found(new_key()) == ()
    stages = await store.stages(secret)
    await store.promote(secret, stages[Stage.PENDING], stages[Stage.CURRENT])
    assert await found(old) == (Holder("one", Stage.PREVIOUS),)


async def test_one_that_cannot_be_asked_hides_no_other_and_is_named() -> None:
    key = new_key()
    config, adapters = world(sealed=Sealed(), one=MemoryStore({"key": key.reveal()}), two=MemoryStore({"key": key.reveal()}))
    answer = await holders(config, adapters, key.fingerprint())
    assert answer.names == ("one", "two") and answer.unseen == ("sealed",)
    assert "sealed" in answer.caveat
