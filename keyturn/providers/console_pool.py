"""Vendors without an API for keys: people make them in a console ahead, and delete the old ones there.

Which vendor, is a setting; console_vendors has what is known of each. Where there is an address to try a key at for nothing,
it is asked; else LiteLLM's answer alone tells whether a key is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import model_validator

from keyturn.providers.admin_api import AdminApi
from keyturn.providers.console_vendors import VENDORS, ConsoleVendor
from keyturn.providers.facts import Facts, Known, Shape, Source
from keyturn.providers.logins import nobody, with_bearer
from keyturn.providers.pool_vendor import PoolSettings, PoolVendor
from keyturn.providers.probe import Probe
from keyturn.providers.verdicts import Verdicts, dead
from keyturn.references import Address

_NAMES = ", ".join(each.vendor for name, each in VENDORS.items() if name != "custom")
_Name = Literal[
    "cerebras",
    "cohere",
    "deepinfra",
    "deepseek",
    "groq",
    "nvidia",
    "replicate",
    "sambanova",
    "together",
    "voyage",
    "custom",
]


class ConsolePool(PoolVendor):
    """The keys of one vendor, of which only the pool knows."""

    FACTS: ClassVar[Facts] = Facts(
        vendor=f"{_NAMES} and others",
        shape=Shape.POOL,
        variables=(),
        models="of the vendor",
        login="nothing at the vendor",
        expiry="chosen in the console, where it has one",
        risks=(
            "people make the keys: with an empty pool nothing is rotated",
            "people delete the old keys: until that is seen, the rotation waits, and no other begins but for an incident",
            "it is not told when a key was last used: the proof is LiteLLM's alone",
            "without an address for the check, LiteLLM's answer is the only word on a key",
        ),
        sources=(
            Source("the vendors' SDKs and other projects' notes", Known.SECONDARY, "there is no API for keys"),
            Source("memory", Known.RECALLED, "where a key can be tried, what a dead one is answered, consoles: settings"),
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "the vendor", (dead(401, "the vendor", known="R"),), accepted=lambda document: bool(document)
    )
    VENDORS: ClassVar[Mapping[str, ConsoleVendor]] = VENDORS
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("every place of the pool", "read the pool"),
        "create": ("takes a key out of the pool", "write the pool"),
        "check": ("GET of the check's address, with the key under test, and once with a garbage key", "none"),
        "last_used": ("nothing: it is not told", "none"),
        "revoke": ("asks a person, sees the key refused, and empties its place", "write the pool"),
    }

    class Settings(PoolSettings):
        """`vendor`: which. `check_url`: another address to try a key at, by GET. `console`: where people make and delete
        keys. `custom` needs `console`."""

        vendor: _Name
        check_url: Address | None = None
        console: Address | None = None

        @model_validator(mode="after")
        def _custom_says_where(self) -> Any:
            if self.vendor == "custom" and self.console is None:
                raise ValueError("vendor: custom needs console, the address where people make and delete its keys")
            return self

    @property
    def row(self) -> ConsoleVendor:
        """What is known of the vendor."""
        return VENDORS[self.settings.vendor]

    @property
    def console(self) -> str:
        """See the settings."""
        return self.settings.console or self.row.console

    def _facts(self) -> Facts:
        row = self.row
        return replace(self.FACTS, vendor=row.vendor, variables=row.variables, models=row.models)

    def _verdicts(self) -> Verdicts:
        row = self.row
        table = Verdicts(row.vendor, (), accepted=lambda document: bool(document))
        return table.refused_as(row.dead)

    @property
    def _address(self) -> str:
        return self.settings.check_url or self.row.check

    def _admin(self) -> AdminApi:
        split = urlsplit(self._address or "https://localhost")
        return AdminApi(self.row.vendor, f"{split.scheme}://{split.netloc}", nobody, self.settings.timeout, "")

    def _probe(self, verdicts: Verdicts) -> Probe | None:
        if not self._address:
            return None
        return Probe(self.api, "GET", urlsplit(self._address).path or "/", with_bearer, verdicts)
