"""ElevenLabs: keys of one service account of a workspace."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import Field

from keyturn.errors import UnavailableError
from keyturn.json_object import inside
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.admin_api import AdminApi, segment
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import hint_of, items, key_text, name_of, optional_unix, plain_id, text
from keyturn.providers.logins import header, with_header
from keyturn.providers.probe import Probe
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Row, Verdicts, dead, error_message
from keyturn.references import Address, SecretReference

_LOGIN = "xi-api-key"
_LONGEST_LIFE = timedelta(days=90)
_WRITE = "an API key of a workspace admin with service_account_write"
_TRIES_A_KEY = "user_read"  # the permission that GET /v1/user asks of a key


class ElevenLabs(Vendor):
    """The keys of a service account. A key that may not read its user is tried through LiteLLM alone."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="ElevenLabs",
        shape=Shape.CREATE_DELETE,
        variables=("ELEVENLABS_API_KEY",),
        models="elevenlabs/",
        login="an API key of a workspace admin with service_account_write; service accounts depend on the plan",
        disables=True,
        expiry="15 minutes to 90 days; of a longer key_lifetime nothing is sent, and the key lives until it is deleted",
        sources=(
            Source("PyPI elevenlabs 2.78.0"),
            Source("programs of others that read its errors", Known.SECONDARY, "the answer to a key that nobody has"),
            Source("memory", Known.RECALLED, "that a deleted key is answered like one that nobody has"),
        ),
        risks=(
            "Nobody is told when a key was last used.",
            "401 is said to a dead key, an unpaid one and one that may not do this alike: only its code tells.",
            "A workspace may forbid keys that never expire: then key_lifetime has to be 90 days or less.",
        ),
        permissions=(
            Permission(May.CREATE, (_WRITE,), known=Known.RECALLED),
            Permission(May.LIST, ("an API key of a workspace admin",), known=Known.RECALLED),
            Permission(May.DELETE, (_WRITE,), known=Known.RECALLED),
            Permission(May.DISABLE, (_WRITE,), known=Known.RECALLED),
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "ElevenLabs",
        (
            dead(401, "ElevenLabs", code="invalid_api_key", known="S"),
            Row(401, "the credits are used up (401 quota_exceeded)", code="quota_exceeded", known="S"),
            Row(401, f"the key may not read its user: it wants {_TRIES_A_KEY}", code="missing_permissions", known="S"),
            Row(401, "free use is barred (401 detected_unusual_activity)", code="detected_unusual_activity", known="S"),
        ),
        accepted=lambda document: isinstance(document.get("user_id"), str),
        code=lambda document: str(inside(document, "detail", "status") or inside(document, "detail", "code") or ""),
        message=lambda document: str(inside(document, "detail", "message") or error_message(document)),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("GET /v1/service-accounts/{service_account}/api-keys", "workspace admin"),
        "create": ("POST /v1/service-accounts/{service_account}/api-keys", "service_account_write"),
        "check": ("GET /v1/user, with the key under test, and once with a garbage key", "user_read"),
        "last_used": ("none: the vendor does not tell", "none"),
        "revoke": ("DELETE /v1/service-accounts/{service_account}/api-keys/{id}, then the list", "service_account_write"),
        "disable": ("POST .../api-keys/{id}/disable, then the list; back by PATCH", "service_account_write"),
    }

    class Settings(VendorSettings):
        """`service_account`: its user id. `permissions`: "all", or those of each new key: as the old one has them.
        `character_limit`: credits a month. `allowed_ips`: addresses or CIDR ranges that may use it; without, all."""

        admin_key: SecretReference
        service_account: str = Field(min_length=1)
        permissions: Literal["all"] | tuple[str, ...] = Field(min_length=1)
        character_limit: int | None = Field(default=None, ge=0)
        allowed_ips: tuple[str, ...] | None = Field(default=None, min_length=1)
        base_url: Address = "https://api.elevenlabs.io"

    def _admin(self) -> AdminApi:
        s = self.settings
        remedy = f"put into {s.admin_key} a live API key of a workspace admin; see whether the plan has service accounts"
        return AdminApi("ElevenLabs", s.base_url, header(_LOGIN, s.admin_key, self._resolve), s.timeout, remedy)

    def _probe(self, verdicts: Verdicts) -> Probe | None:
        if self.settings.permissions != "all" and _TRIES_A_KEY not in self.settings.permissions:
            return None  # a live key would be answered 401 missing_permissions for ever
        present = partial(with_header, _LOGIN)
        return Probe(self.api, "GET", "/v1/user", present, verdicts, lambda: f"sk_{secrets.token_hex(24)}")

    @property
    def _path(self) -> str:
        return f"/v1/service-accounts/{segment(self.settings.service_account)}/api-keys"

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. A life that is longer than the vendor lets it be is not cut short: the key would die in use."""
        s = self.settings
        body: dict[str, Any] = {"name": label, "permissions": "all" if s.permissions == "all" else list(s.permissions)}
        if s.character_limit is not None:
            body["character_limit"] = s.character_limit
        if s.allowed_ips is not None:
            body["allowed_ips"] = list(s.allowed_ips)
        if expires_in is not None and expires_in <= _LONGEST_LIFE:
            body["expires_at_unix"] = int((self._now() + expires_in).timestamp())

        def created(document: Mapping[str, Any]) -> CreatedKey:
            expires_at = optional_unix(body.get("expires_at_unix"))
            ref = KeyRef(plain_id(document.get("key_id")), label, expires_at=expires_at)
            return CreatedKey(ref, key_text(document.get("xi-api-key")))

        return await self.api.make(self._path, created, json=body)

    async def _keys(self) -> Sequence[KeyRef]:
        """All at once: this list has no pages."""
        return [_key(each) for each in await self._entries()]

    async def _entries(self) -> Sequence[Mapping[str, Any]]:
        return await self.api.read(self._path, lambda document: items(document.get("api-keys")))

    async def _delete(self, key: KeyRef) -> bool:
        # What these calls are answered, the SDK leaves open: it may be nothing. The list decides.
        answer = await self.api.call("DELETE", f"{self._path}/{segment(key.id)}", passing=(200, 400, 404, 422))
        return answer.is_success

    async def disable(self, key: KeyRef) -> None:
        """Reversible: `enable`. This call stays when the plan loses its service accounts."""
        await self.api.call("POST", f"{self._path}/{segment(key.id)}/disable", passing=(200,))
        await self._see(key, True)

    async def enable(self, key: KeyRef) -> None:
        """As before `disable`; the plan has to have service accounts."""
        await self.api.call("PATCH", f"{self._path}/{segment(key.id)}", passing=(200,), json={"is_enabled": True})
        await self._see(key, False)

    async def _see(self, key: KeyRef, disabled: bool) -> None:
        if not any(each.get("key_id") == key.id and each.get("is_disabled") is disabled for each in await self._entries()):
            raise UnavailableError(f"ElevenLabs does not list the key {key.id} as {'disabled' if disabled else 'enabled'}")


def _key(data: Mapping[str, Any]) -> KeyRef:
    return KeyRef(
        id=plain_id(data.get("key_id")),
        name=name_of(data.get("name")),
        hint=hint_of(data.get("hint")),
        owner=name_of(text(data.get("service_account_user_id"))),
        created_at=optional_unix(data.get("created_at_unix")),
        expires_at=optional_unix(data.get("expires_at_unix")),
    )
