"""Mistral: keys of an organization, by its Admin API (a preview, for Enterprise plans)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.admin_api import AdminApi, segment
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import hint_of, iso, items, key_text, name_of, optional_iso, plain_id, rfc3339, text
from keyturn.providers.logins import bearer, header, with_bearer
from keyturn.providers.pages import by_offset
from keyturn.providers.probe import Probe
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Row, Verdicts, dead
from keyturn.references import Address, SecretReference

_DOCS = "docs.mistral.ai"
_DAY = timedelta(days=1)
_ADMIN = "an Admin API key of the organization"


class Mistral(Vendor):
    """The keys of an organization, in every workspace; new ones are made in that of the settings."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="Mistral",
        shape=Shape.CREATE_DELETE,
        variables=("MISTRAL_API_KEY",),
        models="mistral/",
        login="an Admin API key of the organization, from the Backoffice: Enterprise plans alone have it",
        expiry="a day; it is rounded up",
        last_use="as `last_used` has it; how exact, and how late, nobody has written down",
        sources=(
            Source(f"{_DOCS}/api/endpoint/beta/admin/api-keys and /admin/admin-api/authentication, 2026-11-23"),
            Source("PyPI mistralai 3.7.0", what="the list of models that a key is tried with"),
            Source("github.com/almyty-inc/almyty", Known.SECONDARY, "that a key is deleted by DELETE, and another address"),
            Source("issues of programs that use it", Known.SECONDARY, "the answer to a key that nobody has"),
            Source("memory", Known.RECALLED, "that a deleted key is answered like one that nobody has"),
        ),
        risks=(
            "A beta: its own pages disagree about its address and its login (see base_url and login).",
            "Where last_used stays empty, a key counts as never used.",
            "A workspace may forbid keys that never expire: then key_lifetime has to fit its policy.",
        ),
        # A key in the list has can_delete: what it means is written nowhere.
        permissions=tuple(Permission(verb, (_ADMIN,)) for verb in (May.CREATE, May.LIST, May.DELETE)),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Mistral",
        (dead(401, "Mistral", known="S"), Row(403, "the key may not do this (403)", known="R")),
        accepted=lambda document: document.get("object") == "list" and isinstance(document.get("data"), list),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("GET /api-keys, page by page", "Admin API key"),
        "create": ("POST /api-keys", "Admin API key"),
        "check": ("GET /v1/models, with the key under test, and once with a garbage key", "none"),
        "last_used": ("GET /api-keys", "Admin API key"),
        "revoke": ("DELETE /api-keys/{id}, then GET /api-keys", "Admin API key"),
    }

    class Settings(VendorSettings):
        """`workspace`, `user`: ids, of where and for whom new keys are made; without, the vendor chooses. `page`: how many
        keys are asked for at once. `login`: the header of the admin key. By the page on authentication it is x-api-key at
        console.mistral.ai; by the reference's examples, Bearer, and in some of them at https://api.mistral.ai/api/admin."""

        admin_key: SecretReference
        workspace: str | None = Field(default=None, min_length=1)
        user: str | None = Field(default=None, min_length=1)
        login: Literal["x-api-key", "bearer"] = "x-api-key"
        page: int = Field(default=100, ge=1)
        base_url: Address = "https://console.mistral.ai/api/admin"
        api_url: Address = "https://api.mistral.ai"

    def _admin(self) -> AdminApi:
        s = self.settings
        by_header = s.login == "x-api-key"
        login = header(s.login, s.admin_key, self._resolve) if by_header else bearer(s.admin_key, self._resolve)
        other = "bearer" if by_header else "x-api-key"
        remedy = f"put into {s.admin_key} a live Admin API key; if it is one, try `login: {other}` and see base_url"
        return AdminApi("Mistral", s.base_url, login, s.timeout, remedy)

    def _probe(self, verdicts: Verdicts) -> Probe:
        s = self.settings
        models = AdminApi("Mistral", s.api_url, bearer(s.admin_key, self._resolve), s.timeout, "")
        return Probe(models, "GET", "/v1/models", with_bearer, verdicts)

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. The vendor tells a day alone: a life is rounded up to the next midnight, in UTC."""
        s = self.settings
        body: dict[str, Any] = {"name": label}
        if s.workspace is not None:
            body["workspace_uuid"] = s.workspace
        if s.user is not None:
            body["user_id"] = s.user
        if expires_in is not None:
            body["expiration"] = rfc3339(_midnight_after(self._now() + expires_in))
        return await self.api.make("/api-keys", _created, json=body)

    async def _keys(self) -> Sequence[KeyRef]:
        return await by_offset("Mistral", self._from)

    async def _from(self, offset: int) -> Sequence[KeyRef]:
        asked = {"limit": str(self.settings.page), "offset": str(offset)}
        return await self.api.read("/api-keys", _page, params=asked)

    async def _delete(self, key: KeyRef) -> bool:
        # What a delete is answered, no page says: it may be nothing. The list decides.
        answer = await self.api.call("DELETE", f"/api-keys/{segment(key.id)}", passing=(200, 400, 404, 422))
        return answer.is_success


def _midnight_after(moment: datetime) -> datetime:
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day if day == moment else day + _DAY


def _created(document: Mapping[str, Any]) -> CreatedKey:
    return CreatedKey(_key(document), key_text(document.get("key")))


def _page(document: Mapping[str, Any]) -> Sequence[KeyRef]:
    return [_key(each) for each in items(document.get("keys"))]


def _key(data: Mapping[str, Any]) -> KeyRef:
    return KeyRef(
        id=plain_id(data.get("key_id")),
        name=name_of(data.get("name")),
        hint=hint_of(data.get("hidden_key")),
        created_at=optional_iso(data.get("created_at")),
        last_used_at=optional_iso(data.get("last_used")),
        expires_at=_day(data.get("expiration_date")),
    )


def _day(value: Any) -> datetime | None:
    """A date is its first moment: a key is never taken to live longer than it may."""
    if not value:
        return None
    return iso(value if "T" in text(value) else f"{value}T00:00:00Z")
