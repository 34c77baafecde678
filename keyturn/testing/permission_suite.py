"""The part of the providers' suites about what the management credential may do: see keyturn.providers.permissions."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from keyturn.errors import PermanentError
from keyturn.model import Finding
from keyturn.providers.facts import Known, May
from keyturn.providers.permissions import Rights, rights_of
from keyturn.testing.faults import Fault
from keyturn.testing.provider_scene import ProviderScene, Scene, new_label

Act = Callable[[], Awaitable[Any]]


def told(findings: Sequence[Finding]) -> Mapping[May, Finding]:
    """Which finding is about what the credential may do."""
    return {
        verb: each for each in findings for verb in May if re.match(rf"may (\w+, |\w+ and )*{verb}\b.* keys at ", each.what)
    }


class PermissionSuite(ProviderScene):
    """`ASKED`: the simulator's operations that tell of permissions; by default those that preflight calls beside a list."""

    ASKED: ClassVar[tuple[str, ...]] = ()

    async def prepared(self, scene: Scene, verb: May) -> Act:
        """What takes the permission, ready to be done."""
        provider = scene.provider
        if verb is May.CREATE:
            return lambda: provider.create(new_label())
        if verb is May.LIST:
            return lambda: provider.list()
        created = await provider.create(new_label())
        if verb is May.DELETE:
            return lambda: provider.revoke(created.ref)
        return lambda: provider.disable(created.ref)

    @pytest.mark.parametrize("verb", [*May])
    async def test_what_the_credential_may_not_do_is_said_before_anything_is_made(self, scene: Scene, verb: May) -> None:
        facts, vendor = scene.provider.facts, scene.vendor
        if facts.permission(verb) is None:
            return
        act = await self.prepared(scene, verb)
        vendor.behaviour.lacks = frozenset({verb.value})
        vendor.log.clear()
        before = repr(vendor.keys)
        found = told(await scene.provider.preflight())
        for permission in facts.permissions:
            finding = found.get(permission.may)
            if permission.may is May.LIST:
                assert finding is not None
                assert finding.ok is not vendor.lacks(permission.may)
            elif vendor.lacks(May.LIST):  # whatever else it may: the login may be refused altogether
                assert finding is None or finding.ok is not None
            elif not vendor.lacks(permission.may):
                assert finding is not None
                assert finding.ok is (True if permission.told_by else None)
            else:
                assert finding is not None
                assert finding.ok is (False if permission.told_by and not permission.only_yes else None)
            if finding is not None and finding.ok is not True:
                assert any(need in finding.remedy for need in permission.needs)
        assert self.changes(scene) == []
        assert repr(vendor.keys) == before
        with pytest.raises(PermanentError):
            await act()

    def changes(self, scene: Scene) -> Sequence[str]:
        """What was called that changes something."""
        changing = {route.operation for route in scene.vendor.ROUTES if route.changes}
        return [call.operation for call in scene.vendor.log if call.operation in changing]

    @pytest.mark.parametrize(
        ("kind", "status"),
        [("status", 403), ("status", 404), ("status", 500), ("throttle", 429), ("html", 200), ("reset", 500)],
    )
    async def test_what_cannot_be_asked_is_unknown_and_stops_nothing(self, scene: Scene, kind: Any, status: int) -> None:
        asked = [each for each in scene.provider.facts.permissions if each.told_by and each.may is not May.LIST]
        if not asked:
            return
        operations = self.ASKED or await self.asking(scene)
        assert operations
        scene.vendor.faults[:] = [Fault(operation=each, kind=kind, status=status, times=None) for each in operations]
        found = told(await scene.provider.preflight())
        for permission in asked:
            assert found[permission.may].ok is None
            assert all(need in found[permission.may].remedy for need in permission.needs)
        assert found[May.LIST].ok is True

    async def test_a_vendor_that_denies_what_was_just_done_is_not_believed(self, scene: Scene) -> None:
        facts = scene.provider.facts
        asked = [each for each in facts.permissions if each.told_by and each.may is not May.LIST]
        if not asked:
            return

        async def nothing() -> Rights:
            return rights_of(facts, ())

        scene.provider._granted = nothing
        found = told(await scene.provider.preflight())
        assert [found[each.may].ok for each in asked] == [None] * len(asked)

    async def asking(self, scene: Scene) -> Sequence[str]:
        await scene.provider._try_to_list()
        listing = {call.operation for call in scene.vendor.log}
        await scene.provider.preflight()
        return sorted({call.operation for call in scene.vendor.log} - listing)

    def test_the_least_permission_is_told_and_what_is_recalled_decides_nothing(self) -> None:
        facts = self.PROVIDER.FACTS
        for permission in facts.permissions:
            assert permission.needs
            assert not (permission.told_by and permission.known is Known.RECALLED)
        assert len({permission.may for permission in facts.permissions}) == len(facts.permissions)
        if facts.permissions:
            assert facts.permission(May.DELETE)
            assert bool(facts.permission(May.LIST)) is facts.lists
            assert bool(facts.permission(May.DISABLE)) is facts.disables
