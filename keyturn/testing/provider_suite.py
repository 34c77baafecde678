"""The conformance suite of `KeyProvider` for vendors that create and delete keys.

A vendor's whole test is

    class TestAcme(ProviderSuite):
        PROVIDER, SIMULATOR = Acme, AcmeSimulator

        def settings(self, url): return {"admin_key": "env:KEYTURN_SUITE_ADMIN", "base_url": f"{url}/v1"}

What a vendor cannot do by its FACTS is not asked of it; what it says it can, is. Needs pytest and pytest-asyncio.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from keyturn.errors import (
    DeniedError,
    KeyturnError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    PermanentError,
    RetryableError,
    ThrottledError,
    UnavailableError,
)
from keyturn.json_object import json_object
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, Verdict
from keyturn.providers.admin_api import Answer
from keyturn.providers.vendor import Vendor
from keyturn.providers.verdicts import Row
from keyturn.references import resolver
from keyturn.testing.faults import Fault
from keyturn.testing.permission_suite import PermissionSuite
from keyturn.testing.provider_scene import ADMIN, MARK, Scene, new_label

Act = Callable[[Scene], Awaitable[Any]]


def fault(operation: str, kind: str, **more: Any) -> Fault:
    return Fault.model_validate({"operation": operation, "kind": kind, **more})


class ProviderSuite(PermissionSuite):
    """See the module's text."""

    LIFETIME = timedelta(days=30)  # one that the vendor takes
    MANY = 230  # keys: more than a page of the vendor's

    # Create, list, find ---------------------------------------------------------------------------------------------

    async def test_a_created_key_is_accepted_and_listed_under_its_label(self, scene: Scene) -> None:
        name = new_label()
        created = await scene.provider.create(name)
        assert created.ref.id
        if scene.provider.capabilities.can_list:
            (found,) = await scene.provider.find(name)
            assert (found.id, found.name) == (created.ref.id, name)
            assert created.material.may_fit_hint(found.hint)
            assert found in await scene.provider.list()
            assert MARK.is_ours(found.name)
        if scene.provider.capabilities.can_check:
            assert (await scene.provider.check(created.material)).verdict is Verdict.ACCEPTED
        assert [key.fingerprint for key in scene.live()] == [created.material.fingerprint()]

    async def test_every_key_has_a_text_and_an_id_of_its_own(self, scene: Scene) -> None:
        made = [await scene.provider.create(new_label()) for _ in range(2)]
        assert len({each.ref.id for each in made}) == len({each.material.fingerprint() for each in made}) == 2

    async def test_only_exact_names_are_found(self, scene: Scene) -> None:
        name = new_label()
        if not scene.provider.capabilities.can_list:
            assert list(await scene.provider.find(name)) == []
            return
        await scene.provider.create(name)
        for other in (name[:-1], f"{name}a", name.upper(), ""):
            assert list(await scene.provider.find(other)) == []

    async def test_more_keys_than_a_page_holds_are_all_listed_oldest_first(self, scene: Scene) -> None:
        if not scene.provider.capabilities.can_list:
            return
        names = []
        for _ in range(self.many(scene)):
            scene.clock.now += 1
            names.append(new_label())
            self.by_hand(scene, names[-1])
        assert [key.name for key in await scene.provider.list()] == names

    def many(self, scene: Scene) -> int:
        most = scene.provider.capabilities.max_live_keys
        return self.MANY if most is None else min(most, self.MANY)

    def by_hand(self, scene: Scene, name: str) -> KeyMaterial:
        """A person makes a key in the vendor's console. Its text."""
        return scene.vendor.add_key(name, at_once=True)[1]

    async def test_a_key_that_was_made_by_hand_is_listed_and_accepted(self, scene: Scene) -> None:
        material = self.by_hand(scene, "somebody's")
        if scene.provider.capabilities.can_list:
            (found,) = await scene.provider.list()
            assert not MARK.is_ours(found.name)
            assert material.may_fit_hint(found.hint)
            assert material.fingerprint() in (found.fingerprint, material.fingerprint() if not found.fingerprint else "")
        if scene.provider.capabilities.can_check:
            assert (await scene.provider.check(material)).verdict is Verdict.ACCEPTED

    async def test_the_fuse_reaches_the_vendor(self, scene: Scene) -> None:
        if not scene.provider.capabilities.supports_expiry:
            return
        created = await scene.provider.create(new_label(), self.LIFETIME)
        end = scene.clock.moment() + self.LIFETIME
        told = created.ref.expires_at
        if scene.provider.capabilities.can_list:
            (told,) = [key.expires_at for key in await scene.provider.list() if key.id == created.ref.id]
        if told is not None:
            assert abs(told - end) <= timedelta(days=1)
        scene.clock.now += self.LIFETIME.total_seconds() + 86400
        assert scene.live() == []

    # Revoke ---------------------------------------------------------------------------------------------------------

    async def test_a_revoked_key_is_refused_and_gone_and_the_others_stay(self, scene: Scene) -> None:
        kept = await scene.provider.create(new_label())
        created = await scene.provider.create(new_label())
        await self.revoke(scene, created)
        if scene.provider.capabilities.can_check:
            assert (await scene.provider.check(created.material)).verdict is Verdict.REJECTED
            assert (await scene.provider.check(kept.material)).verdict is Verdict.ACCEPTED
        assert [key.fingerprint for key in scene.live()] == [kept.material.fingerprint()]
        if scene.provider.capabilities.can_list:
            assert [key.id for key in await scene.provider.list()] == [kept.ref.id]

    async def revoke(self, scene: Scene, created: Any) -> None:
        """As the pipeline does it: by the key as the vendor lists it now."""
        ref = created.ref
        if scene.provider.capabilities.can_list:
            ref = next((key for key in await scene.provider.list() if key.id == ref.id), KeyRef(ref.id, ""))
        await scene.provider.revoke(ref)

    async def test_revoking_again_is_quiet_and_deletes_nothing_else(self, scene: Scene) -> None:
        kept, created = await scene.provider.create(new_label()), await scene.provider.create(new_label())
        for _ in range(3):
            await self.revoke(scene, created)
        assert scene.vendor.keys[created.material.fingerprint()].deletions == 1
        assert [key.fingerprint for key in scene.live()] == [kept.material.fingerprint()]

    async def test_revoking_what_never_was_touches_nothing(self, scene: Scene) -> None:
        kept = await scene.provider.create(new_label())
        for id in ("key_of_nobody", "../../keys", "a b", "..", "."):
            with suppress(PermanentError):
                await scene.provider.revoke(KeyRef(id, ""))
        assert [key.fingerprint for key in scene.live()] == [kept.material.fingerprint()]

    async def test_a_delete_whose_answer_is_lost_is_settled_by_repeating_it(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault(self.DELETE, "lose_answer"))
        with pytest.raises(KeyturnError):
            await self.revoke(scene, created)
        await self.revoke(scene, created)
        assert scene.vendor.keys[created.material.fingerprint()].deletions == 1

    async def test_an_address_that_says_404_or_a_page_to_all_has_revoked_nothing(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        for status in (200, 404):
            scene.vendor.faults[:] = [fault("admin", "html", status=status, times=None)]
            with pytest.raises(KeyturnError):
                await scene.provider.revoke(created.ref)
        scene.vendor.faults.clear()
        assert len(scene.live()) == 1

    # Disable, last use ----------------------------------------------------------------------------------------------

    async def test_a_disabled_key_is_refused_until_it_is_enabled(self, scene: Scene) -> None:
        if not scene.provider.capabilities.can_disable:
            assert not hasattr(scene.provider, "disable")
            return
        created = await scene.provider.create(new_label())
        for _ in range(2):
            await scene.provider.disable(created.ref)
        assert scene.live() == []
        assert [key.id for key in await scene.provider.list()] == [created.ref.id]
        for _ in range(2):
            await scene.provider.enable(created.ref)
        assert [key.fingerprint for key in scene.live()] == [created.material.fingerprint()]

    async def test_the_last_use_is_told_as_far_as_the_vendor_tells_it(self, scene: Scene) -> None:
        created = await scene.provider.create(new_label())
        if not scene.provider.capabilities.reports_last_use:
            assert await scene.provider.last_used(created.ref) is None
            return
        assert await scene.provider.last_used(created.ref) is None
        scene.clock.now += 3600
        scene.vendor.keys[created.material.fingerprint()].uses.append(scene.clock())
        used = await scene.provider.last_used(created.ref)
        assert used is not None
        assert abs(used - scene.clock.moment()) <= timedelta(days=1)
        await self.revoke(scene, created)
        with pytest.raises(NotFoundError):
            await scene.provider.last_used(created.ref)

    # Faults ---------------------------------------------------------------------------------------------------------

    CREATE = "create_key"  # the operations of the simulator that make, list and delete a key
    LIST = "list_keys"
    DELETE = "delete_key"

    async def test_a_create_whose_answer_is_lost_is_found_by_its_name(self, scene: Scene) -> None:
        for kind in ("lose_answer", "html"):
            name = new_label()
            scene.vendor.faults.append(fault(self.CREATE, kind, commit=True, status=200))
            with pytest.raises(LostAnswerError):
                await scene.provider.create(name)
            if scene.provider.capabilities.can_list:
                (found,) = await scene.provider.find(name)
                await scene.provider.revoke(found)
                assert scene.live() == []

    @pytest.mark.parametrize(
        ("kind", "status", "error"),
        [
            ("throttle", 429, ThrottledError),
            ("status", 401, DeniedError),
            ("status", 403, DeniedError),
            ("status", 400, MisconfiguredError),
            ("status", 404, PermanentError),
            ("status", 500, LostAnswerError),
            ("status", 503, LostAnswerError),
            ("html", 502, LostAnswerError),
        ],
    )
    async def test_what_a_create_is_answered_is_an_error_of_ours(
        self, scene: Scene, kind: str, status: int, error: type[Exception]
    ) -> None:
        scene.vendor.faults.append(fault(self.CREATE, kind, status=status))
        with pytest.raises(error):
            await scene.provider.create(new_label())
        assert scene.live() == []

    @pytest.mark.parametrize(
        ("kind", "status", "error"),
        [
            ("throttle", 429, ThrottledError),
            ("status", 403, DeniedError),
            ("status", 500, UnavailableError),
            ("html", 200, UnavailableError),
            ("reset", 500, RetryableError),
        ],
    )
    async def test_a_list_that_cannot_be_had_is_an_error_and_never_a_short_list(
        self, scene: Scene, kind: str, status: int, error: type[Exception]
    ) -> None:
        if not scene.provider.capabilities.can_list:
            return
        await scene.provider.create(new_label())
        scene.vendor.faults.append(fault(self.LIST, kind, status=status))
        with pytest.raises(error):
            await scene.provider.list()

    async def test_a_pause_that_the_vendor_asks_for_is_handed_on(self, scene: Scene) -> None:
        scene.vendor.faults.append(fault(self.CREATE, "throttle", retry_after=7))
        with pytest.raises(ThrottledError) as raised:
            await scene.provider.create(new_label())
        assert raised.value.retry_after == 7

    async def test_a_management_key_that_is_refused_is_said_with_what_to_do(self, scene: Scene) -> None:
        scene.environ[ADMIN] = self.admin()
        with pytest.raises(DeniedError) as raised:
            await scene.provider.create(new_label())
        assert raised.value.remedy
        findings = await scene.provider.preflight()
        if scene.provider.capabilities.can_list:  # without a list nothing free of effects may show the login
            assert [finding for finding in findings if finding.ok is False and finding.remedy]

    async def test_the_management_key_is_read_anew_for_every_call(self, scene: Scene) -> None:
        right = scene.environ[ADMIN]
        scene.environ[ADMIN] = self.admin()
        with pytest.raises(DeniedError):
            await scene.provider.create(new_label())
        scene.environ[ADMIN] = right
        await scene.provider.create(new_label())

    async def test_preflight_has_nothing_against_a_vendor_that_is_well(self, scene: Scene) -> None:
        findings = await scene.provider.preflight()
        assert findings
        assert [finding for finding in findings if finding.ok is False] == []
        assert scene.live() == []

    # Verdicts -------------------------------------------------------------------------------------------------------

    async def test_a_key_that_nobody_has_is_refused(self, scene: Scene) -> None:
        if scene.provider.capabilities.can_check:
            stranger = KeyMaterial(scene.vendor.text(secrets.token_hex(4)))
            assert (await scene.provider.check(stranger)).verdict is Verdict.REJECTED

    @pytest.mark.parametrize("kind", ["html", "status"])
    @pytest.mark.parametrize("status", [402, 403, 408, 418, 429, 500, 502, 503, 529])
    async def test_nothing_but_a_refusal_of_the_key_reads_as_a_dead_key(self, scene: Scene, kind: str, status: int) -> None:
        if not scene.provider.capabilities.can_check:
            return
        created = await scene.provider.create(new_label())
        scene.vendor.faults.append(fault("key", kind, status=status, times=None))
        assert (await scene.provider.check(created.material)).verdict is Verdict.INDETERMINATE

    async def test_a_web_page_is_no_verdict_whatever_its_status(self, scene: Scene) -> None:
        if not scene.provider.capabilities.can_check:
            return
        created = await scene.provider.create(new_label())
        for status in (200, 400, 401, 404):
            scene.vendor.faults[:] = [fault("key", "html", status=status, times=None)]
            assert (await scene.provider.check(created.material)).verdict is Verdict.INDETERMINATE

    async def test_accepted_is_not_believed_from_an_address_that_accepts_anyone(self, scene: Scene) -> None:
        if not scene.provider.capabilities.can_check:
            return
        scene.vendor.anyone = True
        created = await scene.provider.create(new_label())
        assert (await scene.provider.check(created.material)).verdict is Verdict.INDETERMINATE

    def test_every_row_of_the_table_says_what_it_says(self) -> None:
        table = self.unconnected().verdicts
        for row in table.rows:
            judged = table.judge(self.answer(row))
            assert judged.verdict is (Verdict.REJECTED if row.dead else Verdict.INDETERMINATE), row
            assert judged.reason == row.words, row
        assert any(row.dead for row in table.rows)

    def unconnected(self) -> Vendor:
        """An adapter that talks to nobody: what it says of itself may hang on its settings."""
        settings = self.PROVIDER.Settings.model_validate(self.settings("http://127.0.0.1:1"))  # type: ignore[attr-defined]
        return self.PROVIDER(settings, resolver(environ={}))

    def answer(self, row: Row) -> Answer:
        """An answer in the vendor's form that fits this row, and no row before it."""
        code, says = row.code or "another_code", row.says or "another message"
        response = self.SIMULATOR(KeyMaterial(self.admin())).error(row.status, says, code)
        return Answer(row.status, {}, json_object(bytes(response.body)), True)

    # Leaks and settings ---------------------------------------------------------------------------------------------

    async def test_no_key_is_in_an_error_a_log_or_an_address(self, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        created = await scene.provider.create(new_label())
        told = [repr(created), str(created.ref)]
        for kind, status in (("status", 500), ("status", 400), ("status", 403), ("html", 200), ("reset", 500)):
            for act in (scene.provider.create(new_label()), scene.provider.list(), scene.provider.revoke(created.ref)):
                scene.vendor.faults[:] = [fault("*", kind, status=status, code=created.material.reveal(), times=None)]
                try:
                    told.append(repr(await act))
                except KeyturnError as error:
                    told += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
                if scene.provider.capabilities.can_check:
                    told.append(repr(await scene.provider.check(created.material)))
        everything = "\n".join((*told, *scene.vendor.addresses, caplog.text))
        assert scene.literal not in everything
        assert scene.environ[ADMIN] not in everything

    def test_a_literal_key_in_the_settings_is_refused_and_not_printed(self) -> None:
        given, secret = self.settings("http://127.0.0.1:1"), self.admin()
        wrong = json.loads(json.dumps(given).replace(f"env:{ADMIN}", secret))
        assert wrong != given
        with pytest.raises(ValueError, match="reference") as raised:
            self.PROVIDER.Settings.model_validate(wrong)  # type: ignore[attr-defined]
        assert secret not in str(raised.value)

    def test_what_it_promises_is_what_it_has(self) -> None:
        provider = self.unconnected()
        facts, verbs = provider.facts, {"list", "create", "check", "last_used", "revoke"}
        assert facts.disables is hasattr(provider, "disable") is hasattr(provider, "enable")
        assert verbs <= set(provider.calls)
        assert facts.login and facts.sources and facts.vendor
        assert self.SIMULATOR.HELD_BY.test
