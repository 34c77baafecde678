"""keyturn itself, as what is served: its own login at a vendor, which every run reads from its store.

There is nothing to restart. A reference is read anew for each call, so a run that starts, or goes on, after the promote has
the new key; and one that had read the old key a moment before reads again when it is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from keyturn.errors import KeyturnError, RollFailedError
from keyturn.model import Finding, Member, VersionRef
from keyturn.references import Resolver

_LOOKS = 10
_PAUSE = 2.0  # seconds; some stores show a new value a little late


class KeyturnItself:
    """One member, which is this configuration. `logins`: from a credential's name to the reference that its provider logs in
    with."""

    NEEDS: ClassVar[tuple[str, ...]] = ("logins",)
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "serving": ("the provider's login, read by its reference", "as the secret's `current`"),
        "roll": ("nothing: a login is read anew for each call", "none"),
    }

    class Settings(BaseModel):
        """None: what is served is the login of the credential's provider."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def __init__(
        self,
        settings: Settings,
        resolve: Resolver,
        logins: Callable[[str], str],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self._resolve, self._logins, self._pause = resolve, logins, pause

    async def preflight(self, credential: str) -> Sequence[Finding]:
        """Whether the login can be read."""
        what = f"keyturn's login, {self._logins(credential)}, can be read"
        try:
            await self._resolve(self._logins(credential))
        except KeyturnError as error:
            return [Finding(what, False, error.message, error.remedy)]
        return [Finding(what, True)]

    async def members(self) -> Sequence[Member]:
        return [Member("keyturn", "")]

    async def serving(self, member: Member, credential: str) -> VersionRef | None:
        """What the next call would be made with; None where that cannot be read."""
        try:
            return VersionRef("", (await self._resolve(self._logins(credential))).fingerprint())
        except KeyturnError:
            return None

    async def roll(self, member: Member, credential: str, version: VersionRef) -> None:
        """Nothing is done but to wait until the reference yields this version."""
        for _ in range(_LOOKS):
            if await self.serving(member, credential) == version:
                return
            await self._pause(_PAUSE)
        raise RollFailedError(
            f"{self._logins(credential)} does not yield the current value",
            remedy="look who writes this secret, and whether its store answers; then run again",
        )

    async def aclose(self) -> None:
        """Nothing is open."""
