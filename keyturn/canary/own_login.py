"""The canary of a key that keyturn logs in with: the vendor's own word, and then what a login has to be able to do.

That a key is accepted does not say that it may manage keys. Were one promoted that may not, nothing could be rotated there
any more, not even back. So the vendor's list of keys is asked for with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar

from keyturn.errors import DeniedError, KeyturnError
from keyturn.material import KeyMaterial
from keyturn.model import Finding, Judgement, Member, Verdict
from keyturn.ports import KeyProvider


class OwnLoginCanary:
    """`check`: the provider's. `logged_in_with`: the provider, logged in with that key alone. `current`: what keyturn logs
    in with now."""

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "candidate": ("the provider's check; its list of keys, logged in with the new key", "as its list"),
        "member": ("the provider's check; its list of keys, logged in with the current key", "as its list"),
    }

    def __init__(
        self,
        check: Callable[[KeyMaterial], Awaitable[Judgement]],
        logged_in_with: Callable[[KeyMaterial], KeyProvider],
        current: Callable[[], Awaitable[KeyMaterial]],
    ) -> None:
        self._check, self._logged_in_with, self._current = check, logged_in_with, current

    async def preflight(self) -> Sequence[Finding]:
        """Nothing: the provider's own preflight is made with the current key."""
        return []

    async def candidate(self, material: KeyMaterial) -> Judgement:
        """REJECTED also where the key is accepted and may not list keys: it must not become the login."""
        return await self._try(material, denied=Verdict.REJECTED)

    async def member(self, member: Member) -> Judgement:
        """A login that worked when it was promoted, and is denied the list now, is no reason to go back to the old one."""
        try:
            return await self._try(await self._current(), denied=Verdict.INDETERMINATE)
        except KeyturnError as error:
            return Judgement(Verdict.INDETERMINATE, error.message)

    async def _try(self, material: KeyMaterial, denied: Verdict) -> Judgement:
        found = await self._check(material)
        if found.verdict is not Verdict.ACCEPTED:
            return found
        provider = self._logged_in_with(material)
        try:
            await provider.list()
        except DeniedError:
            return Judgement(denied, f"{found.reason}, and does not let it list keys, which a login has to")
        except KeyturnError as error:
            return Judgement(Verdict.INDETERMINATE, f"{found.reason}; {error.message}")
        finally:
            await provider.aclose()
        return Judgement(Verdict.ACCEPTED, f"{found.reason}, and lists keys for it")

    async def aclose(self) -> None:
        """Nothing is kept open."""
