"""Which key at the provider a value is: by its text, by its redacted form, or by a person's word."""

from __future__ import annotations

from dataclasses import replace

from keyturn.assembly import Assembly
from keyturn.model import KeyRef
from keyturn.steps.identify import key_of
from keyturn.testing.world import World, new_key


async def world_of(*keys: KeyRef, key_id: str | None = None) -> tuple[World, Assembly]:
    world = await World.make()
    world.provider.keys = {key.id: (key, new_key()) for key in keys}
    worker = world.worker()
    return world, replace(worker, settings=worker.settings.model_copy(update={"key_id": key_id}))


async def test_a_fingerprint_decides_where_the_provider_tells_one() -> None:
    material = new_key()
    ours, other = KeyRef("a", "", fingerprint=material.fingerprint()), KeyRef("b", "", fingerprint="0" * 16)
    _, worker = await world_of(ours, other)
    assert await key_of(worker, material) == ours
    assert await key_of(worker, new_key()) is None


async def test_a_form_that_fits_two_keys_tells_none_apart() -> None:
    material = new_key()
    hint = f"{material.reveal()[:6]}...{material.reveal()[-4:]}"
    _, worker = await world_of(KeyRef("a", "", hint), KeyRef("b", "", "sk-zzz...zzzz"))
    found = await key_of(worker, material)
    assert found is not None and found.id == "a"
    _, worker = await world_of(KeyRef("a", "", hint), KeyRef("b", "", hint))
    assert await key_of(worker, material) is None


async def test_the_id_of_the_key_in_use_is_taken_where_no_form_tells() -> None:
    material = new_key()
    _, worker = await world_of(KeyRef("a", "by hand"), KeyRef("b", "by hand"), key_id="b")
    found = await key_of(worker, material)
    assert found is not None and found.id == "b"


async def test_that_id_is_not_taken_for_what_it_cannot_be() -> None:
    material = new_key()
    for key in (
        KeyRef("b", "", "sk-another-one...0000"),  # its form is another's
        KeyRef("b", "", fingerprint="0" * 16),  # its text is
        KeyRef("b", (await world_of())[1].mark.label("6f0e7a52-3c53-5d0b-9d83-4f1f6a1f8e10")),  # a rotation of ours made it
    ):
        _, worker = await world_of(key, KeyRef("a", "by hand"), key_id="b")
        assert await key_of(worker, material) is None
    _, worker = await world_of(KeyRef("a", "by hand"), key_id="gone")
    assert await key_of(worker, material) is None
