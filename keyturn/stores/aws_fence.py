"""The fence at AWS: a promote that looked before something was barred, or let go, does not succeed after it.

Such a promote moves AWSCURRENT away from the version that it saw there. So AWSCURRENT goes to a copy of itself, and it never
comes back to a version that had it before.

As AWSCURRENT moves, AWS puts AWSPREVIOUS on the version that it leaves. Of a whole secret it has to be put back. A bar
(aws_bars) that is written before says where it belongs: so PREVIOUS can be read at every instant, and whoever comes next
puts it back where the one who raised the fence has died. A discard writes such a bar for no value.
"""

from __future__ import annotations

from keyturn.model import SecretRef, VersionRef
from keyturn.stores.aws_bars import NO_VALUE
from keyturn.stores.aws_versions import DRAFT, PREVIOUS, SecretVersions, World, bar_now, derived_id, fence_id


class Fence:
    """Each method is False when something moved since `world` was looked at: then look again, and call it again."""

    def __init__(self, versions: SecretVersions) -> None:
        self._versions = versions

    async def bar(self, secret: SecretRef, world: World, version: VersionRef) -> bool:
        """From now on no promote of this version succeeds, whenever it looked."""
        if not await self._previous_is_in_place(secret, world):
            return False
        return world.is_fenced(version) or await self._announce_and_raise(secret, world, version.fingerprint)

    async def shut(self, secret: SecretRef, world: World) -> bool:
        """From now on no promote succeeds that looked before `world`.

        Whoever let a version go has to succeed here himself. Who raised another fence may be about to put AWSPREVIOUS back
        on what was let go, which fails once AWSCURRENT has moved again.
        """
        if not await self._previous_is_in_place(secret, world):
            return False
        if bar_now(secret, world).previous:
            return await self._announce_and_raise(secret, world, NO_VALUE)
        return await self._raise(secret, world, derived_id("fence", world.current_id))

    async def _announce_and_raise(self, secret: SecretRef, world: World, name: str) -> bool:
        if world.barred.get(name) != bar_now(secret, world) and not await self._versions.bar(secret, world, name):
            return False
        # It succeeds only where AWSCURRENT has not moved since, so what the bar says of it was so when that was written.
        return await self._raise(secret, world, fence_id(name, world.current_id))

    async def _raise(self, secret: SecretRef, world: World, copy: str) -> bool:
        await self._versions.put(secret, world.text, copy, DRAFT)
        previous = bar_now(secret, world).previous
        if previous:
            await self._versions.move(secret, DRAFT, copy, previous)  # AWS may delete what has no label
        if not await self._versions.move_current(secret, world, copy):
            return False
        if previous:
            await self._versions.move(secret, PREVIOUS, world.current_id, previous)
        return True

    async def _previous_is_in_place(self, secret: SecretRef, world: World) -> bool:
        """Put back what a fence has displaced whose maker died, or is about to do it himself."""
        previous, found = bar_now(secret, world).previous, world.labels.get(PREVIOUS)
        if not previous or previous == found:
            return True
        await self._versions.move(secret, PREVIOUS, found, previous)
        return False
