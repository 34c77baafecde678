"""The conformance suite of providers with two slots (`keyturn.ports.TwoSlots`), as ProviderSuite is for the others.

class TestAcme(SlotsSuite):
    PROVIDER, SIMULATOR = Acme, AcmeSimulator

    def settings(self, url): return {"access_token": "env:KEYTURN_SUITE_ADMIN", "base_url": url}
"""

from __future__ import annotations

import asyncio
import logging

import pytest

from keyturn.errors import (
    ConflictError,
    DeniedError,
    KeyturnError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
)
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, Verdict
from keyturn.ports import TwoSlots
from keyturn.providers.facts import May
from keyturn.testing.permission_suite import Act, PermissionSuite
from keyturn.testing.provider_scene import ADMIN, Scene, new_label
from keyturn.testing.provider_suite import fault


class SlotsSuite(PermissionSuite):
    """See the module's text."""

    async def prepared(self, scene: Scene, verb: May) -> Act:
        """A key is made in the place of an idle one, and deleted by that."""
        if verb is May.LIST:
            return lambda: scene.provider.list()
        one, two = await self._slots(scene)
        if verb is May.CREATE:
            return lambda: scene.provider.renew(two, {one.fingerprint})
        return lambda: scene.provider.revoke(two)

    RENEW, LIST = "create_key", "list_keys"  # the simulator's operations

    async def _slots(self, scene: Scene) -> tuple[KeyRef, KeyRef]:
        one, two = await scene.provider.list()
        return one, two

    async def test_both_slots_are_listed_and_their_texts_can_be_read(self, scene: Scene) -> None:
        provider: object = scene.provider
        assert isinstance(provider, TwoSlots)
        one, two = await self._slots(scene)
        assert one.id != two.id
        for slot in (one, two):
            material = await scene.provider.text(slot)
            assert material.fingerprint() == slot.fingerprint
            if scene.provider.capabilities.can_check:
                assert (await scene.provider.check(material)).verdict is Verdict.ACCEPTED

    async def test_the_idle_slot_is_made_anew_and_the_other_stays(self, scene: Scene) -> None:
        one, two = await self._slots(scene)
        old = await scene.provider.text(two)
        made = await scene.provider.renew(two, {one.fingerprint})
        assert made.material.fingerprint() == made.ref.fingerprint != two.fingerprint
        assert {key.id for key in await scene.provider.list()} == {one.id, made.ref.id}
        if scene.provider.capabilities.can_check:
            assert (await scene.provider.check(made.material)).verdict is Verdict.ACCEPTED
            assert (await scene.provider.check(old)).verdict is Verdict.REJECTED

    async def test_a_slot_that_is_held_or_has_another_text_by_now_is_left_alone(self, scene: Scene) -> None:
        one, two = await self._slots(scene)
        with pytest.raises(ConflictError):
            await scene.provider.renew(two, {one.fingerprint, two.fingerprint})
        made = await scene.provider.renew(two, {one.fingerprint})
        with pytest.raises(ConflictError):
            await scene.provider.renew(two, {one.fingerprint})
        with pytest.raises(ConflictError):
            await scene.provider.text(two)
        assert {key.id for key in await scene.provider.list()} == {one.id, made.ref.id}

    async def test_there_is_no_third_key(self, scene: Scene) -> None:
        with pytest.raises(MisconfiguredError):
            await scene.provider.create(new_label())
        assert scene.counts(self.RENEW) == 0

    async def test_revoking_makes_the_slot_anew_once(self, scene: Scene) -> None:
        one, two = await self._slots(scene)
        old = await scene.provider.text(one)
        for _ in range(3):
            await scene.provider.revoke(one)
        assert scene.counts(self.RENEW) == 1
        assert two.id in {key.id for key in await scene.provider.list()}
        if scene.provider.capabilities.can_check:
            assert (await scene.provider.check(old)).verdict is Verdict.REJECTED

    async def test_revoking_what_is_no_slot_touches_nothing(self, scene: Scene) -> None:
        for id in ("", "key_1", "key3:0123456789abcdef", "key1:"):
            with pytest.raises(NotFoundError):
                await scene.provider.revoke(KeyRef(id, ""))
        assert scene.counts(self.RENEW) == 0

    async def test_an_answer_that_is_lost_is_read_again(self, scene: Scene) -> None:
        one, two = await self._slots(scene)
        scene.vendor.faults.append(fault(self.RENEW, "lose_answer"))
        made = await scene.provider.renew(two, {one.fingerprint})
        assert scene.counts(self.RENEW) == 1
        assert made.ref.id in {key.id for key in await scene.provider.list()}
        scene.vendor.faults.append(fault(self.RENEW, "lose_answer"))
        await scene.provider.revoke(one)
        assert scene.counts(self.RENEW) == 2

    async def test_a_request_that_was_lost_has_made_nothing_and_is_not_repeated(self, scene: Scene) -> None:
        one, two = await self._slots(scene)
        scene.vendor.faults.append(fault(self.RENEW, "reset"))
        with pytest.raises(UnavailableError):
            await scene.provider.renew(two, {one.fingerprint})
        assert scene.counts(self.RENEW) == 1
        assert {key.id for key in await scene.provider.list()} == {one.id, two.id}

    async def test_where_not_even_reading_tells_it_is_not_known(self, scene: Scene) -> None:
        one, two = await self._slots(scene)
        scene.vendor.faults += [fault(self.RENEW, "lose_answer"), fault(self.LIST, "status", skip=1, status=500)]
        with pytest.raises(LostAnswerError):
            await scene.provider.renew(two, {one.fingerprint})

    @pytest.mark.parametrize(
        ("kind", "status", "error"),
        [("throttle", 429, ThrottledError), ("status", 403, DeniedError), ("html", 200, UnavailableError)],
    )
    async def test_slots_that_cannot_be_read_are_an_error(
        self, scene: Scene, kind: str, status: int, error: type[Exception]
    ) -> None:
        one, two = await self._slots(scene)
        for act in (
            scene.provider.list,
            lambda: scene.provider.revoke(one),
            lambda: scene.provider.renew(two, {one.fingerprint}),
        ):
            scene.vendor.faults[:] = [fault(self.LIST, kind, status=status)]
            with pytest.raises(error):
                await act()
        assert scene.counts(self.RENEW) == 0

    async def test_two_revokes_at_once_leave_the_other_slot_alone(self, scene: Scene) -> None:
        one, two = await self._slots(scene)
        await asyncio.gather(*(scene.provider.revoke(one) for _ in range(4)), return_exceptions=True)
        assert two.id in {key.id for key in await scene.provider.list()}
        assert one.id not in {key.id for key in await scene.provider.list()}

    async def test_a_login_that_is_refused_is_said_with_what_to_do(self, scene: Scene) -> None:
        scene.environ[ADMIN] = self.admin()
        with pytest.raises(DeniedError) as raised:
            await scene.provider.list()
        assert raised.value.remedy

    @pytest.mark.parametrize("kind", ["html", "status"])
    @pytest.mark.parametrize("status", [402, 403, 408, 429, 500, 503])
    async def test_nothing_but_a_refusal_of_the_key_reads_as_a_dead_key(self, scene: Scene, kind: str, status: int) -> None:
        if not scene.provider.capabilities.can_check:
            return
        material = await scene.provider.text((await self._slots(scene))[0])
        scene.vendor.faults.append(fault("key", kind, status=status, times=None))
        assert (await scene.provider.check(material)).verdict is Verdict.INDETERMINATE

    async def test_no_key_is_in_an_error_a_log_or_an_address(self, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        one, two = await self._slots(scene)
        told = [repr(one), repr(two), repr(await scene.provider.renew(two, {one.fingerprint}))]
        text = (await scene.provider.text(one)).reveal()
        for kind, status in (("status", 500), ("status", 400), ("html", 200), ("reset", 500)):
            for act in (scene.provider.list(), scene.provider.revoke(one), scene.provider.renew(two, set())):
                scene.vendor.faults[:] = [fault("*", kind, status=status, code=text, times=None)]
                try:
                    told.append(repr(await act))
                except KeyturnError as error:
                    told += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
        everything = "\n".join((*told, *scene.vendor.addresses, caplog.text))
        for secret in (KeyMaterial(text).reveal(), scene.literal, scene.environ[ADMIN]):
            assert secret not in everything

    def test_what_it_promises_is_what_it_has(self) -> None:
        facts = self.PROVIDER.FACTS
        assert facts.most_keys == 2
        assert {"list", "create", "check", "last_used", "revoke"} <= set(self.PROVIDER.CALLS)
        assert facts.login and facts.sources and facts.vendor
        assert self.SIMULATOR.HELD_BY.test
