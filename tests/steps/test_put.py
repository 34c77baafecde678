"""put: the first value of a secret, wherever it is missing, and never over another."""

from __future__ import annotations

import secrets
from typing import Any, NoReturn

import pytest

from keyturn.errors import ConflictError, MisconfiguredError, RejectedError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import Judgement, Verdict
from keyturn.steps.put import from_text, put
from keyturn.testing.world import World


def nobody_asks() -> NoReturn:
    raise AssertionError("somebody was asked for the key")


async def emptied(world: World, *which: int) -> KeyMaterial:
    """The key in use, after its secrets were taken away."""
    key = (await world.store.current(world.secret)).material
    for index in which:
        secret, store = world.secrets[index]
        del store.documents[secret.path]
    return key


async def held(world: World) -> list[KeyMaterial]:
    return [(await store.current(secret)).material for secret, store in world.secrets]


async def test_every_missing_secret_gets_the_key_that_was_given() -> None:
    world = await World.make(stores=2)
    key = await emptied(world, 0, 1)
    await put(world.worker(), lambda: key)
    assert await held(world) == [key, key]


async def test_a_further_secret_gets_what_the_deciding_one_holds() -> None:
    world = await World.make(stores=2)
    key = await emptied(world, 1)
    await put(world.worker(), nobody_asks)
    assert await held(world) == [key, key]


async def test_where_all_are_there_nobody_is_asked() -> None:
    world = await World.make(stores=2)
    await put(world.worker(), nobody_asks)


async def test_another_key_anywhere_stops_it_before_anything_is_created() -> None:
    world = await World.make(stores=2)
    await emptied(world, 0)
    other = KeyMaterial("sk-" + secrets.token_hex(24))
    with pytest.raises(ConflictError) as caught:
        await put(world.worker(), lambda: other)
    assert world.secret.path not in world.store.documents
    assert other.reveal() not in str(caught.value)


async def test_a_key_that_the_provider_refuses_is_not_put() -> None:
    world = await World.make()
    await emptied(world, 0)
    with pytest.raises(RejectedError):
        await put(world.worker(), lambda: KeyMaterial("sk-" + secrets.token_hex(24)))
    assert world.secret.path not in world.store.documents


async def test_a_key_that_cannot_be_judged_is_put_and_that_is_told() -> None:
    world = await World.make()
    key = await emptied(world, 0)

    async def check(material: KeyMaterial) -> Judgement:
        return Judgement(Verdict.INDETERMINATE, "it is down")

    world.provider.check = check  # type: ignore[method-assign]
    worker = world.worker()
    await put(worker, lambda: key)
    assert await held(world) == [key]
    assert "could not be told: it is down" in worker.timeline[0].sentence


async def test_a_store_that_does_not_answer_is_not_taken_for_an_empty_one() -> None:
    world = await World.make(stores=2)
    await emptied(world, 0)
    store: Any = world.secrets[1][1]

    async def current(secret: object) -> NoReturn:
        raise UnavailableError("it is down")

    store.current = current
    with pytest.raises(UnavailableError):
        await put(world.worker(), nobody_asks)
    assert world.secret.path not in world.store.documents


async def test_it_is_finished_by_who_repeats_it() -> None:
    world = await World.make(stores=2)
    key = await emptied(world, 0, 1)
    store: Any = world.secrets[1][1]
    create = store.create

    async def fails(secret: object, material: object) -> NoReturn:
        raise UnavailableError("it is down")

    store.create = fails
    with pytest.raises(UnavailableError):
        await put(world.worker(), lambda: key)
    store.create = create
    await put(world.worker(), nobody_asks)
    assert await held(world) == [key, key]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_newline_at_the_end_is_not_part_of_the_key(end: str) -> None:
    key = secrets.token_hex(24)
    assert from_text(key + end) == KeyMaterial(key)


@pytest.mark.parametrize("text", ["", "\n", "one\ntwo", "tab\there", "  spaced "])
def test_what_is_no_key_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(MisconfiguredError) as caught:
        from_text(text)
    assert not text.strip() or text.strip() not in str(caught.value)
