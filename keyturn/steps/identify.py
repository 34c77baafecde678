"""Which key at the provider a value is, and which of a provider's keys an id names."""

from __future__ import annotations

from collections.abc import Callable

from keyturn.assembly import Assembly
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef


async def key_of(c: Assembly, material: KeyMaterial, named: Callable[[str], bool] = lambda _: True) -> KeyRef | None:
    """The one key whose text the provider tells again, or whose redacted form fits. None when none fits, more than one does,
    or none can be listed.

    Where no form tells them apart, the one of a person that keyturn.yaml names as the key in use (`key_id`) is taken.
    """
    if not c.provider.capabilities.can_list:
        return None
    keys = [key for key in await c.provider.list() if named(key.name)]
    same = [key for key in keys if key.fingerprint == material.fingerprint()]
    fitting = same or [key for key in keys if not key.fingerprint and material.fits_hint(key.hint)]
    if not fitting and c.settings.key_id:
        meant = [key for key in keys if key.id == c.settings.key_id and not key.fingerprint]
        fitting = [key for key in meant if not c.mark.is_ours(key.name) and material.may_fit_hint(key.hint)]
    return fitting[0] if len(fitting) == 1 else None


async def ref_of(c: Assembly, key_id: str) -> KeyRef:
    """The key with all that the provider tells of it: some need its owner to delete it whole."""
    keys = await c.provider.list() if c.provider.capabilities.can_list else ()
    return next((key for key in keys if key.id == key_id), KeyRef(key_id, ""))
