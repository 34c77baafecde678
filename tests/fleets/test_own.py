"""keyturn itself as a fleet: it serves what its reference yields, and there is nothing to restart."""

from __future__ import annotations

import pytest

from keyturn.errors import KeyturnError, RollFailedError, UnavailableError
from keyturn.fleets.own import KeyturnItself
from keyturn.material import KeyMaterial
from keyturn.model import VersionRef
from keyturn.testing.world import new_key

REFERENCE = "store:vault/keyturn/openai#ADMIN_KEY"


class Scene:
    """A store that shows `values` one after the other, and the last one from then on."""

    def __init__(self, *values: KeyMaterial | KeyturnError) -> None:
        self.values, self.pauses = list(values), 0
        self.fleet = KeyturnItself(
            KeyturnItself.Settings(), self.resolve, {"openai-admin": REFERENCE}.__getitem__, self.pause
        )

    async def resolve(self, reference: str) -> KeyMaterial:
        assert reference == REFERENCE
        value = self.values.pop(0) if len(self.values) > 1 else self.values[0]
        if isinstance(value, KeyturnError):
            raise value
        return value

    async def pause(self, seconds: float) -> None:
        self.pauses += 1


def version(key: KeyMaterial) -> VersionRef:
    return VersionRef("any", key.fingerprint())


async def test_the_one_member_serves_what_is_read_now_and_unknown_is_never_a_guess() -> None:
    old, new = new_key(), new_key()
    scene = Scene(old, UnavailableError("sealed"), new)
    (member,) = await scene.fleet.members()
    served = [await scene.fleet.serving(member, "openai-admin") for _ in range(3)]
    assert served == [version(old), None, version(new)]


async def test_a_roll_waits_until_the_store_shows_the_new_value() -> None:
    old, new = new_key(), new_key()
    scene = Scene(old, UnavailableError("sealed"), new)
    (member,) = await scene.fleet.members()
    await scene.fleet.roll(member, "openai-admin", version(new))
    assert scene.pauses == 2


async def test_a_roll_onto_what_the_reference_does_not_yield_fails() -> None:
    scene = Scene(new_key())
    (member,) = await scene.fleet.members()
    with pytest.raises(RollFailedError, match="ADMIN_KEY does not yield the current value"):
        await scene.fleet.roll(member, "openai-admin", version(new_key()))


async def test_preflight_says_whether_the_login_can_be_read() -> None:
    (finding,) = await Scene(new_key()).fleet.preflight("openai-admin")
    assert finding.ok is True and REFERENCE in finding.what
    (finding,) = await Scene(UnavailableError("sealed", remedy="unseal it")).fleet.preflight("openai-admin")
    assert (finding.ok, finding.detail, finding.remedy) == (False, "sealed", "unseal it")
