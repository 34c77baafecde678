"""OpenRouter: keys of a workspace, by its management API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from keyturn.json_object import inside
from keyturn.model import CreatedKey, KeyRef, LoginLife
from keyturn.providers.admin_api import AdminApi, segment
from keyturn.providers.facts import Facts, May, Permission, Shape, Source
from keyturn.providers.fields import hint_of, iso, items, key_text, mapping, name_of, optional_iso, plain_id, rfc3339
from keyturn.providers.logins import bearer, with_bearer
from keyturn.providers.pages import by_offset
from keyturn.providers.permissions import Rights
from keyturn.providers.probe import Probe
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Row, Verdicts, dead
from keyturn.references import Address, SecretReference

_MANAGEMENT = "a management key"


class OpenRouter(Vendor):
    """The keys of one workspace. The management key cannot do inference."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="OpenRouter",
        shape=Shape.CREATE_DELETE,
        variables=("OPENROUTER_API_KEY",),
        models="openrouter/",
        login="a management key: it may create, list, change and delete keys",
        disables=True,
        keyless="workload identity federation (Business and Enterprise): a token that acts as a named key for 15 minutes at "
        "most, and something has to renew it for LiteLLM",
        expiry="any moment",
        last_use="to the second",
        sources=(Source("PyPI openrouter 1.3.84, and OpenRouter's OpenAPI description"),),
        permissions=tuple(
            Permission(verb, (_MANAGEMENT,), "GET /key (is_management_key)")
            for verb in (May.CREATE, May.LIST, May.DELETE, May.DISABLE)
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "OpenRouter",
        (dead(401, "OpenRouter"), Row(402, "the credits are used up (402)"), Row(403, "a limit of the key (403)")),
        accepted=lambda document: isinstance(inside(document, "data", "label"), str),
        code=lambda document: str(inside(document, "error", "code") or ""),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("GET /keys, page by page", "management key"),
        "create": ("POST /keys", "management key"),
        "check": ("GET /key, with the key under test, and once with a garbage key", "none"),
        "last_used": ("GET /keys", "management key"),
        "revoke": ("DELETE /keys/{hash}, then GET /keys", "management key"),
        "disable": ("PATCH /keys/{hash}", "management key"),
        "login_life": ("GET /key, with the management key", "none"),
    }

    class Settings(VendorSettings):
        """`workspace`: its id; without, the default workspace. `limit`: credits, for each new key."""

        management_key: SecretReference
        workspace: str | None = None
        limit: float | None = None
        base_url: Address = "https://openrouter.ai/api/v1"

    def _admin(self) -> AdminApi:
        s = self.settings
        login = bearer(s.management_key, self._resolve)
        return AdminApi("OpenRouter", s.base_url, login, s.timeout, f"put into {s.management_key} a live management key")

    def _probe(self, verdicts: Verdicts) -> Probe:
        return Probe(self.api, "GET", "/key", with_bearer, verdicts)

    async def login_life(self) -> LoginLife | None:
        """GET /key, with the management key: when it ends, if it does. When it was made is not told."""
        return await self.api.read("/key", _life)

    async def _granted(self) -> Rights:
        """One kind of key may all of it."""
        return await self.api.read("/key", _rights)

    @property
    def _of_workspace(self) -> dict[str, str]:
        return {"workspace_id": self.settings.workspace} if self.settings.workspace else {}

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says: 201 with the key's text, once."""
        body: dict[str, Any] = {"name": label, **self._of_workspace}
        if self.settings.limit is not None:
            body["limit"] = self.settings.limit
        if expires_in is not None:
            body["expires_at"] = rfc3339(self._now() + expires_in)
        return await self.api.make("/keys", _created, json=body)

    async def _keys(self) -> Sequence[KeyRef]:
        """Expired and disabled ones, too: without the parameters some would be left out."""
        asked = {"include_disabled": "true", "include_expired": "true", **self._of_workspace}

        async def read(offset: int) -> Sequence[KeyRef]:
            return await self.api.read("/keys", _page, params={**asked, "offset": str(offset)})

        return await by_offset("OpenRouter", read)

    async def _delete(self, key: KeyRef) -> bool:
        answer = await self.api.call("DELETE", f"/keys/{segment(key.id)}", passing=(404,))
        return answer.is_success

    async def disable(self, key: KeyRef) -> None:
        """Reversible: `enable`."""
        await self.api.call("PATCH", f"/keys/{segment(key.id)}", json={"disabled": True})

    async def enable(self, key: KeyRef) -> None:
        """As before `disable`."""
        await self.api.call("PATCH", f"/keys/{segment(key.id)}", json={"disabled": False})


def _rights(document: Mapping[str, Any]) -> Rights:
    is_management = mapping(document.get("data")).get("is_management_key")
    return Rights({_MANAGEMENT: is_management if isinstance(is_management, bool) else None})


def _created(document: Mapping[str, Any]) -> CreatedKey:
    return CreatedKey(_key(mapping(document.get("data"))), key_text(document.get("key")))


def _life(document: Mapping[str, Any]) -> LoginLife:
    return LoginLife(expires_at=optional_iso(mapping(document.get("data")).get("expires_at")))


def _page(document: Mapping[str, Any]) -> Sequence[KeyRef]:
    return [_key(each) for each in items(document.get("data"))]


def _key(data: Mapping[str, Any]) -> KeyRef:
    return KeyRef(
        id=plain_id(data.get("hash")),
        name=name_of(data.get("name")),
        hint=hint_of(data.get("label")),
        created_at=iso(data.get("created_at")),
        last_used_at=optional_iso(data.get("last_used_at")),
        expires_at=optional_iso(data.get("expires_at")),
    )
