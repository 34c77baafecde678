"""The part of the conformance suite of `SecretStore` about tokens that are spent, so that nothing is staged under them."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from keyturn.errors import ConflictError, NotFoundError
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.ports import SecretStore
from keyturn.testing.store_scene import Place, Shape, StoreScene, new_key, new_token, refused


class StoreSpending(StoreScene):
    """`spend`, and the `stage` that comes after it or at the same time."""

    async def test_a_spent_token_refuses_any_value(self, place: Place, second_store: SecretStore) -> None:
        current, previous = await self.rotate(place)
        token = new_token()
        await place.store.spend(place.secret, token)
        values = [await place.store.read(place.secret, version) for version in (current, previous)]
        for key in (new_key(), *values):
            await refused(second_store.stage(place.secret, key, token), ConflictError, key)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: current, Stage.PREVIOUS: previous}

    async def test_spending_again_is_quiet(self, place: Place, second_store: SecretStore) -> None:
        token = new_token()
        for store in (place.store, second_store, place.store):
            await store.spend(place.secret, token)
        await refused(place.store.stage(place.secret, new_key(), token), ConflictError)
        assert set(await place.store.stages(place.secret)) == {Stage.CURRENT}

    async def test_a_spent_token_stays_spent_after_a_rotation(self, place: Place) -> None:
        token = new_token()
        await place.store.spend(place.secret, token)
        _, previous = await self.rotate(place)
        await place.store.discard(place.secret, previous)
        await refused(place.store.stage(place.secret, new_key(), token), ConflictError)

    async def test_spending_changes_nothing_else(self, place: Place) -> None:
        current, previous = await self.rotate(place)
        key, notes = new_key(), {"new_key": "svc_1", "attempt": "7"}
        pending = await place.store.stage(place.secret, key, new_token())
        await place.store.annotate(place.secret, notes)
        value = await place.store.read(place.secret, current)
        before = await place.store.stages(place.secret)
        assert before == {Stage.CURRENT: current, Stage.PREVIOUS: previous, Stage.PENDING: pending}
        await place.store.spend(place.secret, new_token())
        after = await place.store.stages(place.secret)
        assert after == before
        assert {stage: version.id for stage, version in after.items()} == {
            stage: version.id for stage, version in before.items()
        }
        assert await place.store.read(place.secret, previous) == place.value
        assert await place.store.read(place.secret, pending) == key
        assert await place.store.annotations(place.secret) == notes
        assert await self.consumed(place) == value.reveal()
        await place.store.promote(place.secret, pending, current)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: pending, Stage.PREVIOUS: current}
        await place.store.promote(place.secret, current, pending)
        assert await self.consumed(place) == value.reveal()

    async def test_a_secret_that_was_never_staged_to_takes_it_and_is_rotated_by_other_tokens(self, place: Place) -> None:
        old = (await place.store.current(place.secret)).version
        await place.store.spend(place.secret, new_token())
        assert await place.store.stages(place.secret) == {Stage.CURRENT: old}
        assert await place.store.annotations(place.secret) == {}
        assert await self.consumed(place) == place.value.reveal()
        new, replaced = await self.rotate(place)
        assert replaced == old
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}

    @pytest.mark.parametrize("where", [*Stage, None], ids=[*Stage, "discarded"])
    async def test_a_used_token_is_left_as_it_is(self, place: Place, where: Stage | None) -> None:
        key, token, old = new_key(), new_token(), (await place.store.current(place.secret)).version
        await place.store.annotate(place.secret, {"attempt": "7"})
        version = await place.store.stage(place.secret, key, token)
        if where in (Stage.CURRENT, Stage.PREVIOUS):
            await place.store.promote(place.secret, version, old)
        if where is Stage.PREVIOUS:
            await place.store.promote(place.secret, old, version)
        if where is None:
            await place.store.discard(place.secret, version)
        before = await place.store.stages(place.secret)
        await place.store.spend(place.secret, token)
        assert await place.store.stages(place.secret) == before
        assert await place.store.annotations(place.secret) == {"attempt": "7"}
        if where is None:
            await refused(place.store.stage(place.secret, key, token), ConflictError, key)
        else:
            assert before[where] == version
            assert await place.store.stage(place.secret, key, token) == version
            assert await place.store.read(place.secret, version) == key
        await refused(place.store.stage(place.secret, new_key(), token), ConflictError, key)
        assert await place.store.stages(place.secret) == before

    async def test_a_token_spent_at_one_field_is_good_at_another(self, bundle: Place) -> None:
        neighbour, token = SecretRef("suite", bundle.secret.path, "ANTHROPIC_API_KEY"), new_token()
        await bundle.store.spend(bundle.secret, token)
        version = await bundle.store.stage(neighbour, new_key(), token)
        assert (await bundle.store.stages(neighbour))[Stage.PENDING] == version
        assert set(await bundle.store.stages(bundle.secret)) == {Stage.CURRENT}

    @pytest.mark.parametrize("name", [None, "OPENAI_API_KEY"])
    async def test_spending_at_a_missing_secret_is_not_found(self, store: SecretStore, name: str | None) -> None:
        if (Shape.WHOLE if name is None else Shape.FIELD) not in self.shapes:
            pytest.skip("this backend has no such shape")
        secret = SecretRef("suite", f"{self.folder}/{secrets.token_hex(6)}/missing", name)
        assert str(secret) in str(await refused(store.spend(secret, new_token()), NotFoundError))

    # At the same time as others.

    async def test_a_stage_at_the_same_time_is_held_or_fails(self, place: Place, second_store: SecretStore) -> None:
        for turn in range(6):
            key, token = new_key(), new_token()
            calls = [place.store.stage(place.secret, key, token), second_store.spend(place.secret, token)]
            outcomes = await asyncio.gather(*calls[:: 1 if turn % 2 else -1], return_exceptions=True)
            (staged,) = [outcome for outcome in outcomes if outcome is not None]
            pending = (await place.store.stages(place.secret)).get(Stage.PENDING)
            if isinstance(staged, VersionRef):
                assert pending == staged
                await place.store.discard(place.secret, staged)
            else:
                assert type(staged) is ConflictError
                assert pending is None
            await refused(place.store.stage(place.secret, key, token), ConflictError, key)

    async def test_a_promote_at_the_same_time_goes_through(self, place: Place, second_store: SecretStore) -> None:
        for _ in range(5):
            token, old = new_token(), (await place.store.current(place.secret)).version
            new = await place.store.stage(place.secret, new_key(), new_token())
            await asyncio.gather(place.store.promote(place.secret, new, old), second_store.spend(place.secret, token))
            assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}
            await refused(place.store.stage(place.secret, new_key(), token), ConflictError)

    async def test_ten_tokens_spent_at_once_are_all_spent(self, place: Place, second_store: SecretStore) -> None:
        tokens = [new_token() for _ in range(10)]
        stores = place.store, second_store
        await asyncio.gather(*(stores[n % 2].spend(place.secret, token) for n, token in enumerate(tokens)))
        for token in tokens:
            await refused(place.store.stage(place.secret, new_key(), token), ConflictError)
        assert set(await place.store.stages(place.secret)) == {Stage.CURRENT}
