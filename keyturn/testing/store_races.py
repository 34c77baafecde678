"""The part of the conformance suite of `SecretStore` in which two workers, or a worker and an operator, meet."""

from __future__ import annotations

import asyncio
import itertools
import secrets

from keyturn.errors import ConflictError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage
from keyturn.ports import APART, SecretStore
from keyturn.testing.store_scene import OTHER_FIELDS, Place, StoreScene, as_json, new_key, new_token


class StoreRaces(StoreScene):
    """What holds whoever comes first."""

    async def test_workers_that_promote_the_same_version_agree(self, place: Place, second_store: SecretStore) -> None:
        old = (await place.store.current(place.secret)).version
        new = await place.store.stage(place.secret, new_key(), new_token())
        await asyncio.gather(*(store.promote(place.secret, new, old) for store in (place.store, second_store) * 3))
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}

    async def test_of_two_racers_exactly_one_wins(self, place: Place, second_store: SecretStore) -> None:
        current, previous = await self.rotate(place)
        pending = await place.store.stage(place.secret, new_key(), new_token())
        outcomes = await asyncio.gather(
            place.store.promote(place.secret, pending, current),
            second_store.promote(place.secret, previous, current),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes if outcome] == [ConflictError]
        winner = (pending, previous)[outcomes.index(None)]
        stages = await place.store.stages(place.secret)
        assert (stages[Stage.CURRENT], stages[Stage.PREVIOUS]) == (winner, current)

    async def test_of_two_rotations_at_once_exactly_one_wins(self, place: Place, second_store: SecretStore) -> None:
        old = (await place.store.current(place.secret)).version
        keys = new_key(), new_key()

        async def turn(store: SecretStore, key: KeyMaterial) -> None:
            await store.promote(place.secret, await store.stage(place.secret, key, new_token()), old)

        outcomes = await asyncio.gather(turn(place.store, keys[0]), turn(second_store, keys[1]), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes if outcome} <= {ConflictError}
        winners = [key for key, outcome in zip(keys, outcomes, strict=True) if outcome is None]
        assert len(winners) == 1
        stages = await place.store.stages(place.secret)
        assert stages[Stage.CURRENT].fingerprint == winners[0].fingerprint()
        assert stages[Stage.PREVIOUS] == old

    async def test_a_discard_that_succeeded_is_not_followed_by_its_promote(
        self, place: Place, second_store: SecretStore
    ) -> None:
        for _ in range(5):
            old = (await place.store.current(place.secret)).version
            new = await place.store.stage(place.secret, new_key(), new_token())
            promoted, discarded = await asyncio.gather(
                place.store.promote(place.secret, new, old),
                second_store.discard(place.secret, new),
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in (promoted, discarded) if outcome] == [ConflictError]
            stages = await place.store.stages(place.secret)
            assert stages[Stage.CURRENT] == (old if discarded is None else new)
            assert Stage.PENDING not in stages

    async def test_a_promote_does_not_overwrite_a_change_by_hand(self, place: Place) -> None:
        for _ in range(5):
            theirs = new_key()
            old = (await place.store.current(place.secret)).version
            new = await place.store.stage(place.secret, new_key(), new_token())
            outcomes = await asyncio.gather(
                place.store.promote(place.secret, new, old), self.operator_changes(place, theirs), return_exceptions=True
            )
            assert {type(outcome) for outcome in outcomes if outcome} <= {ConflictError}
            assert await self.consumed(place) == theirs.reveal()

    async def test_neighbours_changed_during_the_promote_are_kept(self, bundle: Place) -> None:
        old = (await bundle.store.current(bundle.secret)).version
        key = new_key()
        new = await bundle.store.stage(bundle.secret, key, new_token())
        changes = {f"NEIGHBOUR_{number}": secrets.token_hex(4) for number in range(5)}
        await asyncio.gather(
            bundle.store.promote(bundle.secret, new, old),
            *(self.set_field(bundle.secret.path, name, value) for name, value in changes.items()),
        )
        bundle.others.update(changes)
        assert await self.consumed(bundle) == key.reveal()

    async def test_ten_fields_promoted_at_once_are_all_there(self, bundle: Place, second_store: SecretStore) -> None:
        names = [f"PROVIDER_{number}_KEY" for number in range(10)]
        await self.write_bundle(bundle.secret.path, {**OTHER_FIELDS, **{name: new_key().reveal() for name in names}})
        keys = {name: new_key() for name in names}

        async def turn(store: SecretStore, name: str) -> None:
            secret = SecretRef("suite", bundle.secret.path, name)
            old = (await store.current(secret)).version
            await store.promote(secret, await store.stage(secret, keys[name], new_token()), old)

        await asyncio.gather(*(turn((bundle.store, second_store)[n % 2], name) for n, name in enumerate(names)))
        fields = await self.read_bundle(bundle.secret.path)
        assert as_json(fields) == as_json({**bundle.others, **{name: key.reveal() for name, key in keys.items()}})

    async def test_notes_that_stand_apart_outlive_what_others_write(self, place: Place, second_store: SecretStore) -> None:
        """Which key a value is: lost, that key would never be revoked."""
        keys = {f"{APART}{letter}": f"svc_{letter}" for letter in "abcdefghij"}
        for _ in range(3):
            stores = itertools.cycle((place.store, second_store))
            each = [{name: text, "attempt": "1", "reason": "manual"} for name, text in keys.items()]
            await asyncio.gather(*(next(stores).annotate(place.secret, note) for note in each))
            assert (await place.store.annotations(place.secret)).items() >= keys.items()
            await asyncio.gather(*(next(stores).annotate(place.secret, {name: None, "attempt": None}) for name in keys))
            assert not [name for name in await place.store.annotations(place.secret) if name.startswith(APART)]
