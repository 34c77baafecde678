"""The part of the conformance suite of `SecretStore` about versions that are barred: never promoted, and still read."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from keyturn.errors import ConflictError, NotFoundError
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.ports import SecretStore
from keyturn.testing.store_scene import Place, Shape, StoreScene, new_key, new_token, refused


class StoreBarring(StoreScene):
    """`bar`, and the promotes that come after it or at the same time."""

    async def test_a_barred_previous_is_not_promoted_and_still_read(self, place: Place, second_store: SecretStore) -> None:
        new, old = await self.rotate(place)
        await place.store.bar(place.secret, old)
        for store in (place.store, second_store):
            await refused(store.promote(place.secret, old, new), ConflictError, place.value)
            assert await store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}
            assert await store.read(place.secret, old) == place.value

    async def test_a_barred_pending_is_not_promoted_and_still_read(self, place: Place, second_store: SecretStore) -> None:
        key, (current, previous) = new_key(), await self.rotate(place)
        pending = await place.store.stage(place.secret, key, new_token())
        await place.store.bar(place.secret, pending)
        held = {Stage.CURRENT: current, Stage.PREVIOUS: previous, Stage.PENDING: pending}
        for store in (place.store, second_store):
            await refused(store.promote(place.secret, pending, current), ConflictError, key)
            assert await store.stages(place.secret) == held
            assert await store.read(place.secret, pending) == key

    async def test_it_is_the_value_that_is_barred(self, place: Place) -> None:
        """Whoever bars it may know no id, and it may be staged again."""
        new, old = await self.rotate(place)
        await place.store.bar(place.secret, VersionRef("", old.fingerprint))
        again = await place.store.stage(place.secret, place.value, new_token())
        for version in (old, again, VersionRef("", old.fingerprint)):
            await refused(place.store.promote(place.secret, version, new), ConflictError, place.value)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old, Stage.PENDING: old}
        await place.store.discard(place.secret, old)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new}

    async def test_a_value_in_both_stages_is_barred_in_both(self, place: Place) -> None:
        new, old = await self.rotate(place)
        await place.store.stage(place.secret, place.value, new_token())
        await place.store.bar(place.secret, old)
        await refused(place.store.promote(place.secret, old, new), ConflictError, place.value)
        other = await place.store.stage(place.secret, new_key(), new_token())  # takes its place as PENDING
        await refused(place.store.promote(place.secret, old, new), ConflictError, place.value)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old, Stage.PENDING: other}

    async def test_barring_again_is_quiet(self, place: Place, second_store: SecretStore) -> None:
        new, old = await self.rotate(place)
        for store in (place.store, second_store, place.store):
            await store.bar(place.secret, old)
            await refused(place.store.promote(place.secret, old, new), ConflictError, place.value)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}

    async def test_barring_what_is_absent_is_quiet_and_changes_nothing(self, place: Place) -> None:
        await place.store.bar(place.secret, VersionRef(new_token(), new_key().fingerprint()))
        new, old = await self.rotate(place)
        gone = await place.store.stage(place.secret, new_key(), new_token())
        await place.store.discard(place.secret, gone)
        for version in (gone, VersionRef(new_token(), new_key().fingerprint())):
            await place.store.bar(place.secret, version)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}
        await place.store.promote(place.secret, old, new)
        assert await self.consumed(place) == place.value.reveal()

    async def test_current_is_not_barred(self, place: Place) -> None:
        new, old = await self.rotate(place)
        await refused(place.store.bar(place.secret, new), ConflictError)
        await place.store.promote(place.secret, old, new)
        await place.store.promote(place.secret, new, old)  # it was not
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}

    async def test_barring_changes_nothing_else(self, place: Place) -> None:
        key, notes = new_key(), {"old_key": "svc_1", "attempt": "7"}
        current, previous = await self.rotate(place)
        pending = await place.store.stage(place.secret, key, new_token())
        await place.store.annotate(place.secret, notes)
        value = await place.store.read(place.secret, current)
        await place.store.bar(place.secret, previous)
        held = {Stage.CURRENT: current, Stage.PREVIOUS: previous, Stage.PENDING: pending}
        assert await place.store.stages(place.secret) == held
        assert (await place.store.stages(place.secret))[Stage.PENDING].id == pending.id
        assert await place.store.annotations(place.secret) == notes
        assert await self.consumed(place) == value.reveal()
        assert await place.store.read(place.secret, pending) == key
        assert await place.store.stage(place.secret, key, pending.id) == pending
        await place.store.promote(place.secret, pending, current)
        assert await self.consumed(place) == key.reveal()

    async def test_a_bar_outlives_what_happens_beside_it(self, place: Place) -> None:
        new, old = await self.rotate(place)
        await place.store.bar(place.secret, old)
        await place.store.spend(place.secret, new_token())
        await place.store.annotate(place.secret, {"attempt": "7"})
        first = await place.store.stage(place.secret, new_key(), new_token())
        await refused(place.store.promote(place.secret, old, new), ConflictError, place.value)
        second = await place.store.stage(place.secret, new_key(), new_token())
        await place.store.discard(place.secret, second)
        await place.store.discard(place.secret, first)
        await refused(place.store.promote(place.secret, old, new), ConflictError, place.value)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}
        assert await place.store.read(place.secret, old) == place.value

    async def test_a_bar_outlives_changes_of_the_other_fields(self, bundle: Place) -> None:
        new, old = await self.rotate(bundle)
        await bundle.store.bar(bundle.secret, old)
        neighbour = Place(bundle.store, SecretRef("suite", bundle.secret.path, "ANTHROPIC_API_KEY"), new_key())
        theirs, replaced = await self.rotate(neighbour)
        await bundle.store.bar(neighbour.secret, replaced)
        await bundle.store.discard(neighbour.secret, replaced)
        await self.set_field(bundle.secret.path, "PORT", 8081)
        await refused(bundle.store.promote(bundle.secret, old, new), ConflictError, bundle.value)
        assert await bundle.store.stages(bundle.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}
        assert await bundle.store.stages(neighbour.secret) == {Stage.CURRENT: theirs}

    async def test_a_value_barred_at_one_field_is_promoted_at_another(self, bundle: Place) -> None:
        neighbour = SecretRef("suite", bundle.secret.path, "ANTHROPIC_API_KEY")
        _, old = await self.rotate(bundle)
        await bundle.store.bar(bundle.secret, old)
        theirs = (await bundle.store.current(neighbour)).version
        version = await bundle.store.stage(neighbour, bundle.value, new_token())
        await bundle.store.promote(neighbour, version, theirs)
        assert (await bundle.store.current(neighbour)).material == bundle.value

    async def test_a_barred_version_leaves_previous_as_any_other(self, place: Place) -> None:
        second, first = await self.rotate(place)
        await place.store.bar(place.secret, first)
        third, _ = await self.rotate(place)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: third, Stage.PREVIOUS: second}
        await refused(place.store.promote(place.secret, first, third), ConflictError, place.value)
        await place.store.promote(place.secret, second, third)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: second, Stage.PREVIOUS: third}

    async def test_two_barred_versions_are_both_barred(self, place: Place) -> None:
        new, old = await self.rotate(place)
        pending = await place.store.stage(place.secret, new_key(), new_token())
        await place.store.bar(place.secret, old)
        await place.store.bar(place.secret, pending)
        for version in (old, pending):
            await refused(place.store.promote(place.secret, version, new), ConflictError, place.value)
        last = await place.store.stage(place.secret, new_key(), new_token())
        await place.store.bar(place.secret, last)
        for version in (old, last):
            await refused(place.store.promote(place.secret, version, new), ConflictError, place.value)

    async def test_a_barred_version_is_discarded(self, place: Place) -> None:
        new, old = await self.rotate(place)
        pending = await place.store.stage(place.secret, new_key(), new_token())
        await place.store.bar(place.secret, old)
        await place.store.bar(place.secret, pending)
        await place.store.discard(place.secret, old)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PENDING: pending}
        await refused(place.store.read(place.secret, old), NotFoundError, place.value)
        await refused(place.store.promote(place.secret, old, new), ConflictError, place.value)
        await place.store.discard(place.secret, pending)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new}

    # What a person does by hand.

    async def test_a_promote_that_displaces_a_barred_value_frees_it(self, place: Place) -> None:
        """A person had put it back. It is the way back from the next one, as any."""
        _, old = await self.rotate(place)
        await place.store.bar(place.secret, old)
        await self.operator_changes(place, place.value)
        assert (await place.store.stages(place.secret))[Stage.CURRENT] == old
        await refused(place.store.bar(place.secret, old), ConflictError)
        next_one = await place.store.stage(place.secret, new_key(), new_token())
        await place.store.promote(place.secret, next_one, old)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: next_one, Stage.PREVIOUS: old}
        await place.store.promote(place.secret, old, next_one)
        assert await self.consumed(place) == place.value.reveal()
        await place.store.promote(place.secret, next_one, old)
        await place.store.bar(place.secret, old)
        await refused(place.store.promote(place.secret, old, next_one), ConflictError, place.value)

    async def test_a_hand_alone_frees_nothing(self, place: Place) -> None:
        new, old = await self.rotate(place)
        key = await place.store.read(place.secret, new)
        await place.store.bar(place.secret, old)
        await self.operator_changes(place, place.value)
        await place.store.spend(place.secret, new_token())
        await self.operator_changes(place, key)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}
        await refused(place.store.promote(place.secret, old, new), ConflictError, place.value)

    @pytest.mark.parametrize("name", [None, "OPENAI_API_KEY"])
    async def test_barring_at_a_missing_secret_is_not_found(self, store: SecretStore, name: str | None) -> None:
        if (Shape.WHOLE if name is None else Shape.FIELD) not in self.shapes:
            pytest.skip("this backend has no such shape")
        secret = SecretRef("suite", f"{self.folder}/{secrets.token_hex(6)}/missing", name)
        assert str(secret) in str(await refused(store.bar(secret, VersionRef("", new_key().fingerprint())), NotFoundError))

    # At the same time as others.

    @pytest.mark.parametrize("stage", [Stage.PENDING, Stage.PREVIOUS])
    async def test_a_bar_that_succeeded_is_followed_by_no_promote(
        self, place: Place, second_store: SecretStore, stage: Stage
    ) -> None:
        for turn in range(6):
            await self.rotate(place)
            await place.store.stage(place.secret, new_key(), new_token())
            before = await place.store.stages(place.secret)
            version, current = before[stage], before[Stage.CURRENT]
            calls = [place.store.promote(place.secret, version, current), second_store.bar(place.secret, version)]
            order = 1 if turn % 2 else -1
            promoted, barred = (await asyncio.gather(*calls[::order], return_exceptions=True))[::order]
            assert [type(outcome) for outcome in (promoted, barred) if outcome] == [ConflictError]
            after = await place.store.stages(place.secret)
            if barred is None:
                assert after == before
                await refused(second_store.promote(place.secret, version, current), ConflictError)
            else:
                assert (after[Stage.CURRENT], after[Stage.PREVIOUS]) == (version, current)

    async def test_two_values_barred_at_once_are_both_barred(self, place: Place, second_store: SecretStore) -> None:
        for _ in range(3):
            new, old = await self.rotate(place)
            pending = await place.store.stage(place.secret, new_key(), new_token())
            await asyncio.gather(place.store.bar(place.secret, old), second_store.bar(place.secret, pending))
            for version in (old, pending):
                await refused(place.store.promote(place.secret, version, new), ConflictError, place.value)
            held = {Stage.CURRENT: new, Stage.PREVIOUS: old, Stage.PENDING: pending}
            assert await place.store.stages(place.secret) == held

    async def test_a_promote_of_another_version_goes_through(self, place: Place, second_store: SecretStore) -> None:
        for _ in range(5):
            current, previous = await self.rotate(place)
            new = await place.store.stage(place.secret, new_key(), new_token())
            await asyncio.gather(place.store.promote(place.secret, new, current), second_store.bar(place.secret, previous))
            assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: current}
            await refused(place.store.promote(place.secret, previous, new), ConflictError)
