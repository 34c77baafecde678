"""Anthropic: keys that people make in the Console, and that the Admin API turns off. It neither makes nor deletes any.

Which of the Admin API's keys a text is, its hint tells (`partial_key_hint`). An individual's account has no Admin API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Literal

from keyturn.errors import NotFoundError, UnavailableError
from keyturn.json_object import text
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, PoolEntry
from keyturn.providers.admin_api import AdminApi, Headers, segment
from keyturn.providers.anthropic_usage import last_use
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import hint_of, iso, items, name_of, optional_iso, plain_id
from keyturn.providers.logins import headers, with_bearer, with_header
from keyturn.providers.pool_vendor import PoolSettings, PoolVendor
from keyturn.providers.probe import Probe
from keyturn.providers.verdicts import Row, Verdicts, dead, error_code
from keyturn.references import Address, SecretReference

_VERSION = "2023-06-01"
_PAGE = 1000
_MOST_PAGES = 1000
_KEYS = "/v1/organizations/api_keys"
_GONE = ("archived", "expired")


class Anthropic(PoolVendor):
    """The keys of an organization, or of one workspace. A disabled key is `inactive`, and can be made `active` again."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="Anthropic",
        shape=Shape.POOL,
        variables=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        models="anthropic/",
        login="an Admin API key (Console, Admin keys): it may list keys and change their status",
        disables=True,
        expiry="chosen in the Console",
        keyless="workload identity federation, for organizations: an OIDC token of your platform is exchanged for one that "
        "ends, and LiteLLM 1.106.2 renews it by itself",
        steps="Anthropic",
        risks=(
            "people make the keys: with an empty pool nothing is rotated",
            "a key that is inactive can be made active again by an administrator; only archived is final",
            "without usage it is not told when a key was last used: the proof is LiteLLM's alone",
            "a key whose hint is another's, too, is turned off by a person",
        ),
        permissions=tuple(Permission(verb, ("an Admin API key",)) for verb in (May.LIST, May.DELETE, May.DISABLE)),
        sources=(
            Source("PyPI anthropic 2.12.0", what="keys, usage, and the error type authentication_error"),
            Source("other projects' notes", Known.SECONDARY, "archived is final: a setting"),
            Source("memory", Known.RECALLED, "the status 401 of a dead key, and how late a use is reported: settings"),
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Anthropic",
        (
            dead(401, "Anthropic", code="authentication_error", known="R"),
            Row(400, "the organization is on hold", code="organization_on_hold"),
            Row(403, "the key may not do this (403)", code="permission_error"),
        ),
        accepted=lambda document: isinstance(document.get("data"), list),
        code=lambda document: error_code(document.get("error", {})) or error_code(document),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": (f"GET {_KEYS}, page by page, and every place of the pool", "Admin key; read the pool"),
        "create": ("takes a key out of the pool", "write the pool"),
        "check": ("GET /v1/models, with the key under test, and once with a garbage key", "none"),
        "last_used": ("nothing; with usage: GET /v1/organizations/analytics/usage", "Admin key"),
        "revoke": (f"GET {_KEYS}, POST {_KEYS}/{{id}}, and empties the key's place", "Admin key; write the pool"),
        "disable": (f"POST {_KEYS}/{{id}}", "Admin key"),
    }

    class Settings(PoolSettings):
        """`workspace`: its id; without, every key of the organization. `login`: how a key is shown to Anthropic: its SDK
        sends a bearer, its pages have the header x-api-key. `final_status`: what an old key becomes. `usage`:
        whether the usage report is evidence that an old key is idle."""

        admin_key: SecretReference
        workspace: str | None = None
        login: Literal["bearer", "x-api-key"] = "bearer"
        final_status: Literal["inactive", "archived"] = "inactive"
        usage: bool = False
        usage_beta: str = "analytics-usage-cost-2026-08-24"
        console: Address = "https://platform.claude.com/settings/keys"
        base_url: Address = "https://api.anthropic.com"

    @property
    def console(self) -> str:
        """See the settings."""
        address: str = self.settings.console
        return address

    def _facts(self) -> Facts:
        return replace(self.FACTS, last_use="to the minute, of the last day") if self.settings.usage else self.FACTS

    def _admin(self) -> AdminApi:
        s = self.settings
        name, prefix = ("x-api-key", "") if s.login == "x-api-key" else ("Authorization", "Bearer ")
        login = headers([(name, prefix, s.admin_key)], {"anthropic-version": _VERSION}, self._resolve)
        return AdminApi("Anthropic", s.base_url, login, s.timeout, f"put into {s.admin_key} a live Admin API key")

    def _probe(self, verdicts: Verdicts) -> Probe:
        def present(material: KeyMaterial) -> Headers:
            shown = with_bearer(material) if self.settings.login == "bearer" else with_header("x-api-key", material)
            return {**shown, b"anthropic-version": _VERSION.encode()}

        return Probe(self.api, "GET", "/v1/models", present, verdicts)

    async def _try_to_list(self) -> None:
        await self._listed_keys()

    async def _keys(self) -> Sequence[KeyRef]:
        """What the pool holds, and the active keys of people beside it."""
        rows = [row for row in await self.ledger.rows() if row.key is not None]
        listed = await self._listed_keys()
        pooled = set()
        found = []
        for row in rows:
            if row.key is None or (ref := row.key_ref) is None:
                continue
            fitting = [key for key, _ in listed if row.key.material.fits_hint(key.hint)]
            pooled |= {key.id for key in fitting}
            told = fitting[0] if len(fitting) == 1 else None
            found.append(replace(ref, expires_at=told.expires_at or ref.expires_at) if told else ref)
        return [*found, *(key for key, status in listed if status == "active" and key.id not in pooled)]

    async def _listed_keys(self) -> Sequence[tuple[KeyRef, str]]:
        """Every key of the vendor's, whatever its status, which comes with it."""
        asked = {"limit": str(_PAGE), **({"workspace_id": self.settings.workspace} if self.settings.workspace else {})}
        found: dict[str, tuple[KeyRef, str]] = {}
        for _ in range(_MOST_PAGES):
            here, more, last = await self.api.read(_KEYS, _page, params=asked)
            known = len(found)
            found.update({key.id: (key, status) for key, status in here})
            if not more:
                return list(found.values())
            if not last or len(found) == known:
                break
            asked["after_id"] = last
        raise UnavailableError("Anthropic's list of keys does not come to an end")

    async def put_in(self, material: KeyMaterial, expires_at: datetime | None = None) -> PoolEntry:
        """As the port says; when it ends Anthropic tells. NotFoundError for a key that it could not be asked to turn off."""
        found = await self._at_anthropic(KeyRef("", ""), material)
        if found is None:
            raise NotFoundError(
                "of the keys that the Admin API lists, none, or more than one, fits this one by its hint",
                remedy="make the keys in the organization, and the workspace, of this provider's settings",
            )
        return await super().put_in(material, expires_at or found[0].expires_at)

    async def _at_anthropic(self, key: KeyRef, material: KeyMaterial | None) -> tuple[KeyRef, str] | None:
        """The key as Anthropic has it: by its id, or the one key whose hint fits its text."""
        listed = await self._listed_keys()
        material = material or await self.text_of(key)
        by_id = [each for each in listed if each[0].id == key.id]
        fitting = by_id or [each for each in listed if material is not None and material.fits_hint(each[0].hint)]
        return fitting[0] if len(fitting) == 1 else None

    async def _end(self, key: KeyRef, material: KeyMaterial | None) -> None:
        """Its status becomes `final_status`. ByHandError where it cannot be told which key that is."""
        found = await self._at_anthropic(key, material)
        if found is None:
            raise self.by_hand(key, material, "which of its keys that is cannot be told by its hint")
        if found[1] not in (*_GONE, self.settings.final_status):
            await self._set(found[0], self.settings.final_status)

    async def disable(self, key: KeyRef) -> None:
        """Reversible: `enable`. NotFoundError where it is gone, or cannot be told."""
        found = await self._at_anthropic(key, None)
        if found is None or found[1] in _GONE:
            raise NotFoundError("Anthropic has no such key, or more than one whose hint fits")
        if found[1] == "active":
            await self._set(found[0], "inactive")

    async def enable(self, key: KeyRef) -> None:
        """As before `disable`. It fails where the organization, or the workspace, has as many active keys as it may."""
        found = await self._at_anthropic(key, None)
        if found is not None and found[1] == "inactive":
            await self._set(found[0], "active")

    async def _set(self, key: KeyRef, status: str) -> None:
        answer = await self.api.call("POST", f"{_KEYS}/{segment(key.id)}", json={"status": status})
        if answer.document.get("status") != status:
            raise UnavailableError(f"Anthropic did not make the key {key.id} {status}")

    async def last_used(self, key: KeyRef) -> datetime | None:
        """By the usage report, where the settings say so. NotFoundError for a key that is not there."""
        if not self.settings.usage:
            return None
        known = next((each for each in await self.list() if each.id == key.id), key)
        found = await self._at_anthropic(known, None)
        if found is None:
            raise NotFoundError(f"Anthropic has no key {key.id}, or more than one whose hint fits")
        return await last_use(self.api, found[0].id, self._now(), self.settings.usage_beta)


def _page(document: Mapping[str, Any]) -> tuple[Sequence[tuple[KeyRef, str]], bool, str]:
    last = document.get("last_id")
    found = [(_key(each), text(each.get("status"))) for each in items(document.get("data"))]
    return found, document.get("has_more") is True, last if isinstance(last, str) else ""


def _key(data: Mapping[str, Any]) -> KeyRef:
    return KeyRef(
        id=plain_id(data.get("id")),
        name=name_of(data.get("name")),
        hint=hint_of(data.get("partial_key_hint")),
        created_at=iso(data.get("created_at")),
        expires_at=optional_iso(data.get("expires_at")),
    )
