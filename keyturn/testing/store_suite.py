"""The conformance suite of `SecretStore`: what every store must do, whatever its backend.

A backend's whole test is a subclass that says how to make the adapter, and how the *other* users of the backend (an
operator, the proxies) write and read, without the adapter:

    class TestAcmeStore(StoreSuite):
        @pytest.fixture(autouse=True)
        def _server(self, acme_server): self.server = acme_server

        async def make_store(self): return AcmeStore(AcmeStore.Settings(address=self.server.url), resolver())
        async def write_whole(self, path, text): ...             # an operator creates or replaces a whole secret
        async def read_whole(self, path): ...                    # what a consumer of a whole secret reads, as text
        async def write_bundle(self, path, fields): ...          # an operator creates or replaces a bundle
        async def read_bundle(self, path): ...                   # what a consumer reads, as a dict
        async def set_field(self, path, field, value): ...       # an operator changes one field; must lose nothing itself

Every test runs for each of `shapes`; paths are new in every test, so nothing has to be cleaned up. Needs pytest and
pytest-asyncio; for readable failures, `pytest.register_assert_rewrite` with store_scene, store_creating, store_races,
store_spending, store_barring and store_suite (each `keyturn.testing.`) in conftest.py.

Beyond the port's text the suite fixes three things:

- A token is used once. When its version has left every stage (discarded, replaced), staging under it again is a
  ConflictError, also with the same value: its key may have been revoked meanwhile.
- A discard that came back without an error is never followed by a promote of that version, whatever was under way.
- An operator's change of the value itself is never overwritten by a promote that started before it.
"""

from __future__ import annotations

import secrets
import string

import pytest

from keyturn.errors import ConflictError, NotFoundError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.ports import SecretStore
from keyturn.testing.store_barring import StoreBarring
from keyturn.testing.store_creating import StoreCreating
from keyturn.testing.store_races import StoreRaces
from keyturn.testing.store_scene import HOSTILE, Place, Shape, new_key, new_token, refused
from keyturn.testing.store_spending import StoreSpending


class StoreSuite(StoreCreating, StoreRaces, StoreSpending, StoreBarring):
    """See the module's text."""

    # Reading.

    async def test_a_fresh_secret_holds_current_alone(self, place: Place) -> None:
        stages = await place.store.stages(place.secret)
        assert set(stages) == {Stage.CURRENT}
        assert stages[Stage.CURRENT].fingerprint == place.value.fingerprint()

    async def test_current_gives_value_and_version(self, place: Place) -> None:
        held = await place.store.current(place.secret)
        assert held.material == place.value
        assert held.version.fingerprint == place.value.fingerprint()
        assert held.version.id

    async def test_a_change_by_hand_is_seen_at_once(self, place: Place) -> None:
        other = new_key()
        await place.store.current(place.secret)
        await self.operator_changes(place, other)
        assert (await place.store.current(place.secret)).material == other
        assert (await place.store.stages(place.secret))[Stage.CURRENT].fingerprint == other.fingerprint()

    async def test_every_held_version_can_be_read(self, place: Place) -> None:
        first, second = new_key(), new_key()
        old = (await place.store.current(place.secret)).version
        one = await place.store.stage(place.secret, first, new_token())
        assert await place.store.read(place.secret, one) == first
        assert await place.store.read(place.secret, old) == place.value
        await place.store.promote(place.secret, one, old)
        two = await place.store.stage(place.secret, second, new_token())
        assert await place.store.read(place.secret, old) == place.value  # PREVIOUS
        assert await place.store.read(place.secret, one) == first  # CURRENT
        assert await place.store.read(place.secret, two) == second  # PENDING

    async def test_an_unknown_version_is_not_found(self, place: Place) -> None:
        unknown = VersionRef(new_token(), new_key().fingerprint())
        await refused(place.store.read(place.secret, unknown), NotFoundError, place.value)

    @pytest.mark.parametrize("name", [None, "OPENAI_API_KEY"])
    async def test_a_missing_secret_is_not_found_and_named(self, store: SecretStore, name: str | None) -> None:
        if (Shape.WHOLE if name is None else Shape.FIELD) not in self.shapes:
            pytest.skip("this backend has no such shape")
        secret = SecretRef("suite", f"{self.folder}/{secrets.token_hex(6)}/missing", name)
        key = new_key()
        for call in (store.current(secret), store.stages(secret), store.stage(secret, key, new_token())):
            assert str(secret) in str(await refused(call, NotFoundError, key))

    async def test_a_missing_field_is_not_found_and_named(self, bundle: Place) -> None:
        secret = SecretRef("suite", bundle.secret.path, "MISSING_API_KEY")
        for call in (bundle.store.current(secret), bundle.store.stages(secret)):
            assert str(secret) in str(await refused(call, NotFoundError, bundle.value))

    async def test_preflight_of_a_good_secret_finds_nothing_wrong(self, place: Place) -> None:
        findings = await place.store.preflight(place.secret)
        assert findings
        assert [finding for finding in findings if finding.ok is False] == []
        assert set(await place.store.stages(place.secret)) == {Stage.CURRENT}  # it wrote nothing

    async def test_preflight_of_a_missing_secret_names_the_remedy(self, store: SecretStore) -> None:
        name = "OPENAI_API_KEY" if Shape.FIELD in self.shapes else None
        secret = SecretRef("suite", f"{self.folder}/{secrets.token_hex(6)}/missing", name)
        wrong = [finding for finding in await store.preflight(secret) if finding.ok is False]
        assert wrong
        assert all(finding.remedy for finding in wrong)

    # Staging.

    async def test_stage_makes_pending_and_leaves_current(self, place: Place) -> None:
        key, token = new_key(), new_token()
        version = await place.store.stage(place.secret, key, token)
        stages = await place.store.stages(place.secret)
        assert set(stages) == {Stage.CURRENT, Stage.PENDING}
        assert stages[Stage.PENDING] == version
        assert stages[Stage.PENDING].id == token == version.id
        assert stages[Stage.PENDING].fingerprint == key.fingerprint()
        assert stages[Stage.CURRENT].fingerprint == place.value.fingerprint()
        assert await self.consumed(place) == place.value.reveal()

    async def test_staging_again_is_quiet_and_gives_the_same_version(self, place: Place, second_store: SecretStore) -> None:
        key, token = new_key(), new_token()
        first = await place.store.stage(place.secret, key, token)
        again = await second_store.stage(place.secret, key, token)
        assert (again.id, again.fingerprint) == (first.id, first.fingerprint)
        assert set(await place.store.stages(place.secret)) == {Stage.CURRENT, Stage.PENDING}

    async def test_staging_again_after_the_promote_is_quiet(self, place: Place) -> None:
        key, token = new_key(), new_token()
        old = (await place.store.current(place.secret)).version
        version = await place.store.stage(place.secret, key, token)
        await place.store.promote(place.secret, version, old)
        before = await place.store.stages(place.secret)
        assert await place.store.stage(place.secret, key, token) == version
        assert await place.store.stages(place.secret) == before

    async def test_a_token_refuses_another_value(self, place: Place) -> None:
        key, other, token = new_key(), new_key(), new_token()
        version = await place.store.stage(place.secret, key, token)
        await refused(place.store.stage(place.secret, other, token), ConflictError, key, other)
        assert (await place.store.stages(place.secret))[Stage.PENDING] == version

    async def test_a_promoted_token_refuses_another_value(self, place: Place) -> None:
        key, other, token = new_key(), new_key(), new_token()
        old = (await place.store.current(place.secret)).version
        await place.store.promote(place.secret, await place.store.stage(place.secret, key, token), old)
        await refused(place.store.stage(place.secret, other, token), ConflictError, key, other)
        assert Stage.PENDING not in await place.store.stages(place.secret)

    async def test_a_discarded_token_is_spent(self, place: Place) -> None:
        key, other, token = new_key(), new_key(), new_token()
        await place.store.discard(place.secret, await place.store.stage(place.secret, key, token))
        await refused(place.store.stage(place.secret, other, token), ConflictError, key, other)
        await refused(place.store.stage(place.secret, key, token), ConflictError, key)
        assert set(await place.store.stages(place.secret)) == {Stage.CURRENT}

    async def test_a_pending_of_another_token_is_replaced(self, place: Place) -> None:
        key, token = new_key(), new_token()
        old = (await place.store.current(place.secret)).version
        first = await place.store.stage(place.secret, key, token)
        second = await place.store.stage(place.secret, new_key(), new_token())
        assert (await place.store.stages(place.secret))[Stage.PENDING] == second
        await refused(place.store.read(place.secret, first), NotFoundError, key)
        await refused(place.store.promote(place.secret, first, old), ConflictError, key)
        await refused(place.store.stage(place.secret, key, token), ConflictError, key)

    async def test_a_stage_with_the_value_of_current_is_not_listed(self, place: Place) -> None:
        version = await place.store.stage(place.secret, place.value, new_token())
        stages = await place.store.stages(place.secret)
        assert set(stages) == {Stage.CURRENT}
        assert stages[Stage.CURRENT] == version
        await place.store.promote(place.secret, version, version)
        assert await self.consumed(place) == place.value.reveal()

    async def test_what_previous_holds_can_be_staged_again(self, place: Place) -> None:
        """A key that was taken back, and is tried once more."""
        new, old = await self.rotate(place)
        again = await place.store.stage(place.secret, place.value, new_token())
        stages = await place.store.stages(place.secret)
        assert stages == {Stage.CURRENT: new, Stage.PREVIOUS: old, Stage.PENDING: old}
        assert stages[Stage.PENDING].id == again.id
        await place.store.promote(place.secret, again, new)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: old, Stage.PREVIOUS: new}
        assert await self.consumed(place) == place.value.reveal()
        await place.store.promote(place.secret, new, again)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}

    async def test_a_value_in_both_stages_is_dropped_from_both(self, place: Place) -> None:
        new, old = await self.rotate(place)
        token = new_token()
        await place.store.discard(place.secret, await place.store.stage(place.secret, place.value, token))
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new}
        await refused(place.store.read(place.secret, old), NotFoundError, place.value)
        await refused(place.store.promote(place.secret, old, new), ConflictError, place.value)
        await refused(place.store.stage(place.secret, place.value, token), ConflictError, place.value)

    @pytest.mark.parametrize("kind", HOSTILE)
    async def test_key_text_arrives_byte_for_byte(self, place: Place, kind: str) -> None:
        key = KeyMaterial(secrets.token_hex(8) + HOSTILE[kind] + secrets.token_hex(2))
        old = (await place.store.current(place.secret)).version
        version = await place.store.stage(place.secret, key, new_token())
        assert await place.store.read(place.secret, version) == key
        await place.store.promote(place.secret, version, old)
        assert await self.consumed(place) == key.reveal()
        held = await place.store.current(place.secret)
        assert held.material == key
        assert held.version == version

    # Promoting.

    async def test_promote_moves_the_stages(self, place: Place) -> None:
        key = new_key()
        old = (await place.store.current(place.secret)).version
        new = await place.store.stage(place.secret, key, new_token())
        await place.store.promote(place.secret, new, old)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}
        assert (await place.store.current(place.secret)).material == key
        assert await self.consumed(place) == key.reveal()

    async def test_promote_repeated_is_quiet(self, place: Place, second_store: SecretStore) -> None:
        new, old = await self.rotate(place)
        await place.store.promote(place.secret, new, old)
        await second_store.promote(place.secret, new, old)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}

    async def test_each_rotation_moves_previous_on(self, place: Place) -> None:
        await self.rotate(place)
        third, second = await self.rotate(place)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: third, Stage.PREVIOUS: second}

    async def test_promote_refuses_when_current_moved(self, place: Place) -> None:
        key, theirs = new_key(), new_key()
        old = (await place.store.current(place.secret)).version
        new = await place.store.stage(place.secret, key, new_token())
        await self.operator_changes(place, theirs)
        before = await place.store.stages(place.secret)
        await refused(place.store.promote(place.secret, new, old), ConflictError, key, theirs, place.value)
        assert await place.store.stages(place.secret) == before
        assert await self.consumed(place) == theirs.reveal()

    async def test_promote_refuses_a_version_that_no_stage_holds(self, place: Place) -> None:
        old = (await place.store.current(place.secret)).version
        unknown = VersionRef(new_token(), new_key().fingerprint())
        await refused(place.store.promote(place.secret, unknown, old), ConflictError, place.value)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: old}

    async def test_promote_refuses_a_value_that_was_given_up_and_staged_anew(self, place: Place) -> None:
        """Who was stalled since the first staging does not promote what the second one is about to prove."""
        key, old = new_key(), (await place.store.current(place.secret)).version
        first = await place.store.stage(place.secret, key, new_token())
        await place.store.discard(place.secret, first)
        second = await place.store.stage(place.secret, key, new_token())
        await refused(place.store.promote(place.secret, first, old), ConflictError, key)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: old, Stage.PENDING: second}
        await place.store.promote(place.secret, second, old)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: second, Stage.PREVIOUS: old}

    async def test_promoting_previous_is_the_rollback(self, place: Place) -> None:
        new, old = await self.rotate(place)
        await place.store.promote(place.secret, old, new)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: old, Stage.PREVIOUS: new}
        assert await self.consumed(place) == place.value.reveal()
        await place.store.promote(place.secret, new, old)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}

    async def test_a_rollback_keeps_pending(self, place: Place) -> None:
        new, old = await self.rotate(place)
        pending = await place.store.stage(place.secret, new_key(), new_token())
        await place.store.promote(place.secret, old, new)
        expected = {Stage.CURRENT: old, Stage.PREVIOUS: new, Stage.PENDING: pending}
        assert await place.store.stages(place.secret) == expected

    async def test_a_neighbour_changed_meanwhile_is_kept(self, bundle: Place) -> None:
        old = (await bundle.store.current(bundle.secret)).version
        new = await bundle.store.stage(bundle.secret, new_key(), new_token())
        await self.set_field(bundle.secret.path, "ANTHROPIC_API_KEY", "changed by hand")
        bundle.others["ANTHROPIC_API_KEY"] = "changed by hand"
        stages = await bundle.store.stages(bundle.secret)
        assert stages == {Stage.CURRENT: old, Stage.PENDING: new}
        await bundle.store.promote(bundle.secret, new, old)
        await self.consumed(bundle)

    # Discarding.

    async def test_discard_drops_pending(self, place: Place) -> None:
        key = new_key()
        old = (await place.store.current(place.secret)).version
        version = await place.store.stage(place.secret, key, new_token())
        await place.store.discard(place.secret, version)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: old}
        await refused(place.store.read(place.secret, version), NotFoundError, key)
        await refused(place.store.promote(place.secret, version, old), ConflictError, key)
        assert await self.consumed(place) == place.value.reveal()

    async def test_discarding_what_is_absent_is_quiet(self, place: Place) -> None:
        version = await place.store.stage(place.secret, new_key(), new_token())
        await place.store.discard(place.secret, version)
        await place.store.discard(place.secret, version)
        await place.store.discard(place.secret, VersionRef(new_token(), new_key().fingerprint()))
        assert set(await place.store.stages(place.secret)) == {Stage.CURRENT}

    async def test_discard_drops_previous(self, place: Place) -> None:
        new, old = await self.rotate(place)
        await place.store.discard(place.secret, old)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new}
        await refused(place.store.read(place.secret, old), NotFoundError, place.value)
        await refused(place.store.promote(place.secret, old, new), ConflictError, place.value)

    async def test_discard_refuses_current(self, place: Place) -> None:
        new, old = await self.rotate(place)
        await refused(place.store.discard(place.secret, new), ConflictError)
        assert await place.store.stages(place.secret) == {Stage.CURRENT: new, Stage.PREVIOUS: old}

    # Notes.

    async def test_a_fresh_secret_has_no_notes(self, place: Place) -> None:
        assert await place.store.annotations(place.secret) == {}

    async def test_notes_are_set_kept_and_dropped(self, place: Place, second_store: SecretStore) -> None:
        await place.store.annotate(place.secret, {"new_key": "svc_1", "attempt": "1"})
        await place.store.annotate(place.secret, {"attempt": "2", "revoke_after": "2030-01-02T03:04:05+00:00"})
        expected = {"new_key": "svc_1", "attempt": "2", "revoke_after": "2030-01-02T03:04:05+00:00"}
        assert await second_store.annotations(place.secret) == expected
        await place.store.annotate(place.secret, {"attempt": None, "never_there": None, "new_key": "svc_2"})
        expected = {"new_key": "svc_2", "revoke_after": "2030-01-02T03:04:05+00:00"}
        assert await place.store.annotations(place.secret) == expected

    async def test_notes_take_the_whole_range(self, place: Place) -> None:
        alphabet = string.ascii_letters + string.digits + " _.:/=+@-"
        notes = {"a" * 24: alphabet, "_": "", "filled": "x" * 120, "spaces": "a  b"}
        await place.store.annotate(place.secret, notes)
        assert await place.store.annotations(place.secret) == notes

    async def test_notes_leave_the_value_alone_and_outlive_a_rotation(self, place: Place) -> None:
        await place.store.annotate(place.secret, {"old_key": "svc_1"})
        assert await self.consumed(place) == place.value.reveal()
        await self.rotate(place)
        assert await place.store.annotations(place.secret) == {"old_key": "svc_1"}

    async def test_notes_of_one_field_are_not_seen_at_another(self, bundle: Place) -> None:
        neighbour = SecretRef("suite", bundle.secret.path, "ANTHROPIC_API_KEY")
        await bundle.store.annotate(bundle.secret, {"new_key": "svc_1"})
        await bundle.store.annotate(neighbour, {"new_key": "svc_2", "attempt": "7"})
        assert await bundle.store.annotations(bundle.secret) == {"new_key": "svc_1"}
        await bundle.store.annotate(neighbour, {"new_key": None})
        assert await bundle.store.annotations(bundle.secret) == {"new_key": "svc_1"}
        assert await bundle.store.annotations(neighbour) == {"attempt": "7"}

    async def test_stages_of_one_field_are_not_seen_at_another(self, bundle: Place) -> None:
        neighbour = SecretRef("suite", bundle.secret.path, "ANTHROPIC_API_KEY")
        version = await bundle.store.stage(bundle.secret, new_key(), new_token())
        assert set(await bundle.store.stages(neighbour)) == {Stage.CURRENT}
        await refused(bundle.store.read(neighbour, version), NotFoundError)
