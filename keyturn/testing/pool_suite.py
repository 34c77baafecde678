"""The conformance suite of providers with a pool (`keyturn.ports.Pooled`), as ProviderSuite is for the others.

class TestAcme(PoolSuite):
    PROVIDER, SIMULATOR = Acme, AcmeSimulator

    def settings(self, url): return {"pool": POOL, "base_url": url}
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest

from keyturn.errors import ByHandError, ConflictError, KeyturnError, NotFoundError
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, PoolEntry, Verdict
from keyturn.ports import Pooled
from keyturn.providers.facts import May
from keyturn.providers.pool_vendor import PoolVendor
from keyturn.providers.vendor import Vendor
from keyturn.references import Resolver
from keyturn.stores.memory import MemoryStore
from keyturn.testing.permission_suite import Act, PermissionSuite
from keyturn.testing.provider_scene import ADMIN, Scene, new_label
from keyturn.testing.provider_suite import fault

POOL: Mapping[str, Any] = {"store": "memory", "path": "litellm/pool", "size": 4}


class PoolSuite(PermissionSuite):
    """See the module's text. `ENDS`: its API ends keys; else a person does."""

    ENDS: ClassVar[bool] = True
    PROVIDER: ClassVar[type[PoolVendor]]
    ADMINISTERED: ClassVar[bool] = True  # it needs a management credential

    def adapter(self, settings: Any, resolve: Resolver, now: Callable[[], datetime]) -> Vendor:
        store = MemoryStore({POOL["path"]: {}})
        return self.PROVIDER(settings, resolve, now, stores=lambda _: store)

    async def filled(self, scene: Scene, count: int = 1) -> list[KeyMaterial]:
        """A person makes keys, and puts them into the pool."""
        made = [scene.vendor.add_key("by hand", at_once=True)[1] for _ in range(count)]
        for material in made:
            await scene.provider.put_in(material)
        return made

    async def prepared(self, scene: Scene, verb: May) -> Act:
        """Where keys are at the vendor's, and not in the pool alone."""
        if verb is May.LIST:
            return lambda: scene.provider.list()
        await self.filled(scene)
        taken = await scene.provider.take(new_label(), ())
        if verb is May.DELETE:
            return lambda: scene.provider.end(taken.ref, taken.material)
        return lambda: scene.provider.disable(taken.ref)

    async def listed(self, scene: Scene, fingerprint: str) -> KeyRef:
        found: KeyRef
        (found,) = [key for key in await scene.provider.list() if key.fingerprint == fingerprint]
        return found

    # The pool -------------------------------------------------------------------------------------------------------

    async def test_it_has_a_pool_and_makes_no_keys(self, scene: Scene) -> None:
        provider: object = scene.provider
        assert isinstance(provider, Pooled)
        assert scene.provider.capabilities.shape == "pool"
        with pytest.raises(NotFoundError, match="no free key"):
            await scene.provider.take(new_label(), ())
        with pytest.raises(NotFoundError, match="no free key"):
            await scene.provider.create(new_label())

    async def test_what_is_put_in_is_taken_under_a_label_and_found_by_it(self, scene: Scene) -> None:
        (material,) = await self.filled(scene)
        (free,) = [entry for entry in await scene.provider.entries() if entry.key]
        assert free.is_free and free.added_at == scene.clock.moment()
        label = new_label()
        assert list(await scene.provider.find(label)) == []
        taken = await scene.provider.take(label, ())
        assert taken.material == material
        assert [key.id for key in await scene.provider.find(label)] == [taken.ref.id]
        assert [entry for entry in await scene.provider.entries() if entry.is_free] == []
        assert await scene.provider.text_of(taken.ref) == material
        if scene.provider.capabilities.can_check:
            assert (await scene.provider.check(material)).verdict is Verdict.ACCEPTED

    async def test_the_same_label_is_given_the_same_key_and_another_label_another(self, scene: Scene) -> None:
        await self.filled(scene, 3)
        one, two = new_label(), new_label()
        first = [(await scene.provider.take(one, ())).ref.fingerprint for _ in range(2)]
        assert len(set(first)) == 1
        assert (await scene.provider.take(two, ())).ref.fingerprint != first[0]

    async def test_of_many_at_once_each_is_given_its_own(self, scene: Scene) -> None:
        await self.filled(scene, 4)
        labels = [new_label() for _ in range(4)] * 2
        taken = await asyncio.gather(*(scene.provider.take(label, ()) for label in labels))
        by_label = {
            label: {key.ref.fingerprint for key, asked in zip(taken, labels, strict=True) if asked == label}
            for label in labels
        }
        assert all(len(found) == 1 for found in by_label.values())
        assert len({key.ref.fingerprint for key in taken}) == 4

    async def test_what_is_held_is_not_taken(self, scene: Scene) -> None:
        one, two = await self.filled(scene, 2)
        taken = await scene.provider.take(new_label(), {one.fingerprint()})
        assert taken.material == two

    async def test_a_key_is_put_in_once(self, scene: Scene) -> None:
        (material,) = await self.filled(scene)
        with pytest.raises(ConflictError, match="already"):
            await scene.provider.put_in(material)
        await scene.provider.take(new_label(), ())
        with pytest.raises(ConflictError, match="already"):
            await scene.provider.put_in(material)

    async def test_a_full_pool_takes_no_more(self, scene: Scene) -> None:
        await self.filled(scene, POOL["size"])
        with pytest.raises(ConflictError, match="taken") as raised:
            await self.filled(scene)
        assert "size" in raised.value.remedy

    async def test_a_key_that_ends_soon_is_told_and_not_taken(self, scene: Scene) -> None:
        material = scene.vendor.add_key("by hand", at_once=True)[1]
        soon = scene.clock.moment() + timedelta(days=3)
        entry: PoolEntry = await scene.provider.put_in(material, soon)
        assert entry.key is not None and entry.key.expires_at == soon
        assert not scene.provider.may_take(entry)
        with pytest.raises(NotFoundError):
            await scene.provider.take(new_label(), ())
        assert any(f"{soon:%Y-%m-%d}" in finding.detail for finding in await scene.provider.preflight())

    async def test_an_empty_pool_is_told_before_anything_is_done(self, scene: Scene) -> None:
        (first, *_) = await scene.provider.preflight()
        assert (first.ok, first.detail) == (None, f"0 free of {POOL['size']} places")
        await self.filled(scene, 2)
        (first, *_) = await scene.provider.preflight()
        assert first.ok is True
        assert [finding for finding in await scene.provider.preflight() if finding.ok is False] == []

    async def test_what_is_put_back_is_free_and_only_for_who_took_it(self, scene: Scene) -> None:
        (material,) = await self.filled(scene)
        taken = await scene.provider.take(new_label(), ())
        await scene.provider.put_back(KeyRef(taken.ref.id, new_label(), fingerprint=taken.ref.fingerprint))
        assert await self.listed(scene, material.fingerprint()) == taken.ref
        for _ in range(2):
            await scene.provider.put_back(taken.ref)
        assert (await self.listed(scene, material.fingerprint())).name == ""
        other = await scene.provider.take(new_label(), ())
        await scene.provider.put_back(taken.ref)  # who comes late frees nothing of another's
        await scene.provider.forget(taken.ref)
        assert await self.listed(scene, material.fingerprint()) == other.ref

    # Its end --------------------------------------------------------------------------------------------------------

    async def test_a_key_is_ended_and_forgotten_and_its_place_is_used_again(self, scene: Scene) -> None:
        one, two = await self.filled(scene, 2)
        taken = await scene.provider.take(new_label(), ())
        for _ in range(2):
            await self.end(scene, taken.ref, one)
        assert [key.fingerprint for key in scene.live()] == [two.fingerprint()]
        if scene.provider.capabilities.can_check:
            assert (await scene.provider.check(one)).verdict is Verdict.REJECTED
        for _ in range(2):
            await scene.provider.forget(taken.ref)
        assert await scene.provider.text_of(taken.ref) is None
        assert [entry.place for entry in await scene.provider.entries() if entry.key] == ["entry_2"]
        await self.filled(scene)
        assert [entry.is_free for entry in await scene.provider.entries()] == [True, True, False, False]

    async def end(self, scene: Scene, ref: KeyRef, material: KeyMaterial) -> None:
        if self.ENDS:
            await scene.provider.end(ref, None)
            return
        with pytest.raises(ByHandError) as raised:
            await scene.provider.end(ref, None)
        self.demand_discreet(raised.value, material)
        for key in scene.vendor.live():
            if key.fingerprint == material.fingerprint():
                scene.vendor.delete(key)

    def demand_discreet(self, error: ByHandError, material: KeyMaterial) -> None:
        """A person finds the key by its last four characters, and the console by its address; no more is told."""
        text = material.reveal()
        assert text[-4:] in str(error)
        assert text[-5:] not in str(error)
        assert "http" in str(error)

    async def test_a_key_that_is_being_ended_is_never_free_again(self, scene: Scene) -> None:
        (material,) = await self.filled(scene)
        taken = await scene.provider.take(new_label(), ())
        await self.end(scene, taken.ref, material)
        with pytest.raises(ConflictError):
            await scene.provider.put_back(taken.ref)
        assert [entry for entry in await scene.provider.entries() if entry.is_free] == []

    async def test_a_key_that_is_free_or_another_s_is_not_ended(self, scene: Scene) -> None:
        (material,) = await self.filled(scene)
        label = new_label()
        for name in ("", label):
            with pytest.raises(ConflictError):
                await scene.provider.end(KeyRef("pool", name, fingerprint=material.fingerprint()), material)
        await scene.provider.take(new_label(), ())
        for name in ("", label):
            with pytest.raises(ConflictError):
                await scene.provider.end(KeyRef("pool", name, fingerprint=material.fingerprint()), material)
        assert len(scene.live()) == 1

    async def test_a_key_of_a_person_is_ended_too(self, scene: Scene) -> None:
        """The one that was in use before there was a pool: it is in no place of it."""
        (kept,) = await self.filled(scene)
        material = scene.vendor.add_key("the first", at_once=True)[1]
        if self.ENDS:
            await scene.provider.end(KeyRef("", "", fingerprint=material.fingerprint()), material)
            assert [key.fingerprint for key in scene.live()] == [kept.fingerprint()]
        else:
            with pytest.raises(ByHandError) as raised:
                await scene.provider.end(KeyRef("", "", fingerprint=material.fingerprint()), material)
            self.demand_discreet(raised.value, material)

    async def test_a_key_that_cannot_be_told_is_left_to_a_person(self, scene: Scene) -> None:
        await self.filled(scene)
        with pytest.raises(ByHandError, match="held nowhere"):
            await scene.provider.end(KeyRef("", "", fingerprint="0" * 16), None)
        assert len(scene.live()) == 1

    # Verdicts, leaks ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", ["html", "status"])
    @pytest.mark.parametrize("status", [402, 403, 408, 429, 500, 503, 529])
    async def test_nothing_but_a_refusal_of_the_key_reads_as_a_dead_key(self, scene: Scene, kind: str, status: int) -> None:
        if not scene.provider.capabilities.can_check:
            return
        (material,) = await self.filled(scene)
        scene.vendor.faults.append(fault("key", kind, status=status, times=None))
        assert (await scene.provider.check(material)).verdict is Verdict.INDETERMINATE

    async def test_a_key_that_nobody_has_is_refused_and_one_that_anyone_has_is_not_believed(self, scene: Scene) -> None:
        if not scene.provider.capabilities.can_check:
            return
        stranger = KeyMaterial(scene.vendor.text(secrets.token_hex(4)))
        assert (await scene.provider.check(stranger)).verdict is Verdict.REJECTED
        scene.vendor.anyone = True
        assert (await scene.provider.check((await self.filled(scene))[0])).verdict is Verdict.INDETERMINATE

    async def test_no_key_is_in_an_error_a_log_or_an_address(self, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        materials = await self.filled(scene, 3)
        taken = await scene.provider.take(new_label(), ())
        told = [repr(taken), repr(await scene.provider.entries()), repr(await scene.provider.preflight())]
        for kind, status in (("status", 500), ("status", 400), ("status", 403), ("html", 200), ("reset", 500)):
            for act in (
                lambda: scene.provider.end(taken.ref, taken.material),
                scene.provider.list,
                scene.provider.preflight,
                lambda: scene.provider.take(new_label(), {each.fingerprint() for each in materials}),
                lambda: scene.provider.put_in(materials[1]),
            ):
                scene.vendor.faults[:] = [fault("*", kind, status=status, code=taken.material.reveal(), times=None)]
                try:
                    told.append(repr(await act()))
                except KeyturnError as error:
                    told += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
        everything = "\n".join((*told, *scene.vendor.addresses, caplog.text))
        assert scene.literal not in everything
        assert scene.environ[ADMIN] not in everything

    def test_what_it_promises_is_what_it_has(self) -> None:
        facts = self.PROVIDER.FACTS
        assert facts.disables is hasattr(self.PROVIDER, "disable") is hasattr(self.PROVIDER, "enable")
        assert {"list", "create", "check", "last_used", "revoke"} <= set(self.PROVIDER.CALLS)
        assert facts.login and facts.sources and facts.vendor
        assert self.SIMULATOR.HELD_BY.test
