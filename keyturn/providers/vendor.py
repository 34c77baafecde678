"""What the adapters of vendors that create and delete keys have in common: a vendor's own file says the rest.

See docs/adding-a-provider.md. A subclass has FACTS, CALLS, VERDICTS, a `Settings`, and `_admin`, `_probe`, `create`,
`_keys` and `_delete`; where the vendor can, `disable` and `enable`, and `_granted`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from pydantic import Field, field_validator

from keyturn.durations import Duration
from keyturn.errors import DeniedError, NotFoundError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import Capabilities, CreatedKey, Finding, Judgement, KeyRef, LoginLife
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.facts import Facts
from keyturn.providers.login_settings import LoginSettings, life_among
from keyturn.providers.permissions import Rights, findings, list_finding
from keyturn.providers.probe import Probe
from keyturn.providers.verdicts import Verdicts
from keyturn.references import Resolver

_EPOCH = datetime.fromtimestamp(0, UTC)


def utc_now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


class VendorSettings(LoginSettings):
    """What every vendor's settings have. `refused_as`: how it answers a dead key, `STATUS` or `STATUS:CODE`, where that is
    not what the table of docs/providers.md says."""

    refused_as: tuple[str, ...] | None = Field(default=None, min_length=1)
    usage_lag: Duration = timedelta(minutes=10)
    propagation: Duration = timedelta(seconds=60)
    timeout: Duration = timedelta(seconds=30)

    @field_validator("refused_as")
    @classmethod
    def _not_reckless(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None:
            Verdicts("it", (), lambda _: False).refused_as(value)
        return value


class Vendor:
    """The verbs of KeyProvider, as far as they are alike everywhere."""

    FACTS: ClassVar[Facts]
    VERDICTS: ClassVar[Verdicts]
    CALLS: ClassVar[Mapping[str, tuple[str, str]]]

    def __init__(self, settings: Any, resolve: Resolver, now: Callable[[], datetime] = utc_now) -> None:
        self.settings, self._resolve, self._now = settings, resolve, now
        self.facts = self._facts()
        self.calls = self._calls()  # may hang on what the vendor is
        self.api: AdminApi = self._admin()
        chosen: tuple[str, ...] | None = settings.refused_as
        self.verdicts = self._verdicts() if chosen is None else self._verdicts().refused_as(chosen)
        self._check: Probe | None = self._probe(self.verdicts)

    # What a vendor's own file says -----------------------------------------------------------------------------------

    def _admin(self) -> AdminApi:
        raise NotImplementedError

    def _facts(self) -> Facts:
        """FACTS, unless they hang on the settings. So also the next two."""
        return self.FACTS

    def _calls(self) -> Mapping[str, tuple[str, str]]:
        return self.CALLS

    def _verdicts(self) -> Verdicts:
        return self.VERDICTS

    def _probe(self, verdicts: Verdicts) -> Probe | None:
        """None: a key can only be tried through LiteLLM."""
        raise NotImplementedError

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says."""
        raise NotImplementedError

    async def _keys(self) -> Sequence[KeyRef]:
        """Every key that there is, in any order."""
        raise NotImplementedError

    async def _delete(self, key: KeyRef) -> bool:
        """Delete it; False where the vendor says that there is none of that id."""
        raise NotImplementedError

    async def _granted(self) -> Rights:
        """By the call that FACTS.permissions name as `told_by`, which has no effect. Any error of ours: it is not told."""
        raise NotImplementedError

    async def _try_to_list(self) -> None:
        """As listing goes at the vendor itself."""
        await self._keys()

    # What is alike --------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            shape=self.facts.shape,
            can_list=self.facts.lists,
            can_disable=self.facts.disables,
            can_check=self._check is not None,
            supports_expiry=bool(self.facts.expiry),
            reports_last_use=bool(self.facts.last_use),
            max_live_keys=self.facts.most_keys,
            usage_lag=self.settings.usage_lag,
            propagation=self.settings.propagation,
        )

    async def preflight(self) -> Sequence[Finding]:
        """What the management credential may do, as far as the vendor tells it and nothing is changed by asking."""
        return await self._permissions()

    async def _permissions(self) -> Sequence[Finding]:
        """Listing is tried, which shows the login; the rest is asked. Where the login is refused, little else is told."""
        listed, error = await list_finding(self.facts, self._try_to_list)
        if error is not None and not isinstance(error, DeniedError):
            return [listed]
        others = await findings(self.facts, self._granted, self.api.remedy, error is None and self.facts.lists)
        return [listed, *(other for other in others if error is None or other.ok is not None)]

    async def list(self) -> Sequence[KeyRef]:
        """Every key that the settings give access to, oldest first."""
        return sorted(await self._keys(), key=lambda key: (key.created_at or _EPOCH, key.id))

    async def find(self, label: str) -> Sequence[KeyRef]:
        """Every key named exactly so."""
        return [key for key in await self.list() if key.name == label]

    async def last_used(self, key: KeyRef) -> datetime | None:
        """Read anew. NotFoundError for a key that is not there; None also where the vendor does not tell."""
        if not self.facts.last_use:
            return None
        return (await self._listed(key)).last_used_at

    async def revoke(self, key: KeyRef) -> None:
        """Delete the key. Absent is success, where the list says so too: an address that answers 404 to all is no vendor.

        UnavailableError while the list still has it. Where there is no list, absent is NotFoundError.
        """
        was_there = await self._delete(key)
        if not self.facts.lists:
            if not was_there:
                raise NotFoundError(
                    f"{self.facts.vendor} says that it has no key {key.id}, and no list of its keys can show that",
                    remedy="see in the vendor's console that the key is gone",
                )
            return
        if any(other.id == key.id for other in await self._keys()):
            raise UnavailableError(f"{self.facts.vendor} still lists the key {key.id} after it was deleted")

    async def check(self, material: KeyMaterial) -> Judgement:
        """The vendor's own word. See Probe, and the vendor's table."""
        if self._check is None:
            raise NotFoundError(f"{self.facts.vendor} has no call that a key could be tried with")
        return await self._check.ask(material)

    @property
    def _own_key(self) -> str:
        """The reference that is logged in with, where that may be one of the keys that are listed; else ""."""
        return ""

    async def login_life(self) -> LoginLife | None:
        """Of the one listed key that is logged in with. See TellsLogin."""
        if not self._own_key:
            return None
        return life_among(await self._resolve(self._own_key), await self._keys())

    async def _listed(self, key: KeyRef) -> KeyRef:
        for other in await self._keys():
            if other.id == key.id:
                return other
        raise NotFoundError(f"{self.facts.vendor} has no key {key.id}")

    async def aclose(self) -> None:
        await self.api.aclose()
        if self._check is not None:
            await self._check.aclose()
