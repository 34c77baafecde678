"""The canary of what keyturn logs in with: accepted is not enough, it has to manage keys."""

from __future__ import annotations

import pytest

from keyturn.canary.own_login import OwnLoginCanary
from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import Judgement, Member, Verdict
from keyturn.testing.own_world import MemoryAdminKeys
from keyturn.testing.world import Clock, new_key

MEMBER = Member("keyturn", "")


class Parts:
    """A vendor with one key, which is the login."""

    def __init__(self) -> None:
        self.provider, self.key = MemoryAdminKeys(Clock()), new_key()
        self.provider.add(self.key, "by hand")
        self.cannot_be_read: KeyturnError | None = None

    async def current(self) -> KeyMaterial:
        if self.cannot_be_read:
            raise self.cannot_be_read
        return self.key

    def canary(self) -> OwnLoginCanary:
        return OwnLoginCanary(self.provider.check, self.provider.logged_in_with, self.current)


async def test_a_login_that_lists_keys_is_accepted() -> None:
    parts = Parts()
    for found in (await parts.canary().candidate(parts.key), await parts.canary().member(MEMBER)):
        assert found == Judgement(Verdict.ACCEPTED, "the provider accepts it, and lists keys for it")


async def test_a_key_that_the_provider_refuses_is_rejected() -> None:
    parts = Parts()
    parts.provider.keys.clear()
    assert (await parts.canary().candidate(parts.key)).verdict is Verdict.REJECTED
    assert (await parts.canary().member(MEMBER)).verdict is Verdict.REJECTED


async def test_one_that_may_not_manage_keys_never_becomes_the_login_and_is_not_gone_back_from() -> None:
    parts = Parts()
    parts.provider.fail["list"] = DeniedError("it may not")
    assert (await parts.canary().candidate(parts.key)).verdict is Verdict.REJECTED
    assert (await parts.canary().member(MEMBER)).verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize("error", [UnavailableError("down"), MisconfiguredError("wrong")])
async def test_what_cannot_be_asked_decides_nothing(error: KeyturnError) -> None:
    parts = Parts()
    parts.provider.fail["list"] = error
    assert (await parts.canary().candidate(parts.key)).verdict is Verdict.INDETERMINATE
    parts.provider.fail.clear()
    parts.cannot_be_read = error
    assert (await parts.canary().member(MEMBER)).verdict is Verdict.INDETERMINATE
