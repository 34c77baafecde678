"""The part of the conformance suite of `SecretStore` about secrets that are not there yet."""

from __future__ import annotations

import asyncio
import secrets

import pytest
import pytest_asyncio

from keyturn.errors import ConflictError
from keyturn.model import SecretRef, Stage
from keyturn.ports import SecretStore
from keyturn.testing.store_scene import Place, Shape, StoreScene, new_key, new_token, refused

_FIELDS = 5


class StoreCreating(StoreScene):
    """What `create` promises."""

    @pytest_asyncio.fixture(params=[Shape.WHOLE, Shape.FIELD], ids=lambda shape: str(shape.value))
    async def missing(self, request: pytest.FixtureRequest, store: SecretStore) -> Place:
        """A secret that does not exist; `value` is the one to be created."""
        shape: Shape = request.param
        if shape not in self.shapes:
            pytest.skip(f"this backend has no {shape}")
        field = None if shape is Shape.WHOLE else "OPENAI_API_KEY"
        return Place(store, SecretRef("suite", f"{self.folder}/{secrets.token_hex(6)}/openai", field), new_key())

    async def test_what_was_created_is_current_and_is_consumed(self, missing: Place) -> None:
        version = await missing.store.create(missing.secret, missing.value)
        assert version.fingerprint == missing.value.fingerprint()
        assert await missing.store.stages(missing.secret) == {Stage.CURRENT: version}
        assert (await missing.store.current(missing.secret)).material == missing.value
        assert await self.consumed(missing) == missing.value.reveal()
        assert await missing.store.annotations(missing.secret) == {}

    async def test_what_was_created_can_be_rotated(self, missing: Place) -> None:
        old = await missing.store.create(missing.secret, missing.value)
        new = await missing.store.stage(missing.secret, new_key(), new_token())
        await missing.store.promote(missing.secret, new, old)
        assert await missing.store.stages(missing.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}

    async def test_creating_again_is_quiet(self, missing: Place, second_store: SecretStore) -> None:
        first = await missing.store.create(missing.secret, missing.value)
        assert await second_store.create(missing.secret, missing.value) == first
        assert await missing.store.stages(missing.secret) == {Stage.CURRENT: first}

    async def test_another_value_is_never_overwritten(self, place: Place) -> None:
        other = new_key()
        await refused(place.store.create(place.secret, other), ConflictError, other, place.value)
        assert await self.consumed(place) == place.value.reveal()
        held = await place.store.create(place.secret, place.value)  # what is there already
        assert held.fingerprint == place.value.fingerprint()

    async def test_a_field_is_added_to_its_bundle(self, bundle: Place) -> None:
        secret, key = SecretRef("suite", bundle.secret.path, "ADDED_API_KEY"), new_key()
        await bundle.store.create(secret, key)
        assert (await bundle.store.current(secret)).material == key
        bundle.others["ADDED_API_KEY"] = key.reveal()
        assert await self.consumed(bundle) == bundle.value.reveal()

    async def test_a_field_added_leaves_the_stages_of_another(self, bundle: Place) -> None:
        old = (await bundle.store.current(bundle.secret)).version
        new = await bundle.store.stage(bundle.secret, new_key(), new_token())
        await bundle.store.create(SecretRef("suite", bundle.secret.path, "ADDED_API_KEY"), new_key())
        assert await bundle.store.stages(bundle.secret) == {Stage.CURRENT: old, Stage.PENDING: new}
        await bundle.store.promote(bundle.secret, new, old)

    async def test_of_two_who_create_one_wins(self, missing: Place, second_store: SecretStore) -> None:
        keys = [missing.value, new_key()]
        outcomes = await asyncio.gather(
            *(store.create(missing.secret, key) for store, key in zip((missing.store, second_store), keys, strict=True)),
            return_exceptions=True,
        )
        assert sorted(type(each).__name__ for each in outcomes) == ["ConflictError", "VersionRef"]
        winner = next(key for key, each in zip(keys, outcomes, strict=True) if not isinstance(each, BaseException))
        assert await self.consumed(missing) == winner.reveal()

    async def test_fields_created_at_once_are_all_there(self, store: SecretStore, second_store: SecretStore) -> None:
        if Shape.FIELD not in self.shapes:
            pytest.skip("this backend has no bundles")
        path, keys = f"{self.folder}/{secrets.token_hex(6)}/openai", {f"KEY_{n}": new_key() for n in range(_FIELDS)}
        stores = (store, second_store) * _FIELDS
        await asyncio.gather(
            *(
                each.create(SecretRef("suite", path, name), key)
                for each, (name, key) in zip(stores, keys.items(), strict=False)
            )
        )
        assert await self.read_bundle(path) == {name: key.reveal() for name, key in keys.items()}
