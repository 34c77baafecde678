"""Which key at the provider a value is, and which of a provider's keys an id names."""

from __future__ import annotations

from collections.abc import Callable

from keyturn.assembly import Assembly
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef


async def key_of(c: Assembly, material: KeyMaterial, named: Callable[[str], bool] = lambda _: True) -> KeyRef | None:
    """The one key whose redacted form fits the value. None when none fits, more than one does, or none can be listed."""
    if not c.provider.capabilities.can_list:
        return None
    fitting = [key for key in await c.provider.list() if named(key.name) and material.fits_hint(key.hint)]
    return fitting[0] if len(fitting) == 1 else None


async def ref_of(c: Assembly, key_id: str) -> KeyRef:
    """The key with all that the provider tells of it: some need its owner to delete it whole."""
    keys = await c.provider.list() if c.provider.capabilities.can_list else ()
    return next((key for key in keys if key.id == key_id), KeyRef(key_id, ""))
