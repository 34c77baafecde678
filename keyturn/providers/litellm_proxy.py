"""A LiteLLM proxy as the upstream of others: its virtual keys. Source: PyPI litellm 1.106.2, key_management_endpoints."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from keyturn.errors import UnavailableError
from keyturn.json_object import UnreadableError, inside
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.facts import Facts, May, Permission, Shape, Source
from keyturn.providers.fields import hint_of, items, key_text, mapping, name_of, plain_id, text
from keyturn.providers.logins import bearer, with_bearer
from keyturn.providers.permissions import Rights
from keyturn.providers.probe import Probe
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Verdicts, dead
from keyturn.references import Address, SecretReference

_PAGE = 100  # keys, the most that /key/list gives
_MOST_PAGES = 1000
_LOOKS = 3  # at a list that changes while its pages are read
# An alias is unique at LiteLLM: a label alone could not be created again after an answer was lost. So this follows on it.
_OURS = re.compile(r"(keyturn-.+-[0-9a-f]{12})-[0-9a-f]{8}")

_ADMIN = "the role proxy_admin, or the master key"
_VIEW = "the role proxy_admin_viewer, proxy_admin, or the master key"
_TOLD_BY = "GET /v2/user/info (user_role)"
_VIEWER = "proxy_admin_viewer"  # changes no key: litellm/proxy/auth/route_checks.py
_MASTER = "default_user_id"  # the user of the master key, which may do everything whatever that user's role is


class LiteLLMProxy(Vendor):
    """Every virtual key of a proxy, or those of one team."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="LiteLLM",
        shape=Shape.CREATE_DELETE,
        variables=("LITELLM_PROXY_API_KEY",),
        models="litellm_proxy/",
        login="a key of a proxy admin (or the master key), at a proxy with a database",
        disables=True,
        expiry="any duration, in seconds",
        last_use="to the second, of calls that cost something",
        sources=(
            Source("PyPI litellm 1.106.2"),
            Source("key_management_endpoints.py", what="an alias is unique: a key's is the label and eight digits more"),
        ),
        risks=(
            "Replicas of the proxy cache keys: a blocked or deleted key may be accepted for a while (setting propagation).",
            "A call that costs nothing, such as GET /v1/models, is no use that last_active tells.",
        ),
        permissions=tuple(
            Permission(verb, (_VIEW if verb is May.LIST else _ADMIN,), _TOLD_BY)
            for verb in (May.CREATE, May.LIST, May.DELETE, May.DISABLE)
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "LiteLLM",
        (
            dead(401, "LiteLLM", code="token_not_found_in_db"),
            dead(401, "LiteLLM", code="expired_key"),
            # `auth_error` is every failure to authenticate, also of LiteLLM itself: only these words are about the key.
            dead(401, "LiteLLM", code="auth_error", says="key is blocked"),
        ),
        accepted=lambda document: document.get("object") == "list" and isinstance(document.get("data"), list),
        code=lambda document: str(inside(document, "error", "type") or ""),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("GET /key/list, page by page", "proxy admin"),
        "create": ("POST /key/generate", "proxy admin"),
        "check": ("GET /v1/models, with the key under test, and once with a garbage key", "none"),
        "last_used": ("GET /key/list", "proxy admin"),
        "revoke": ("POST /key/delete, then GET /key/list", "proxy admin"),
        "disable": ("POST /key/block", "proxy admin"),
        "enable": ("POST /key/unblock", "proxy admin"),
    }

    class Settings(VendorSettings):
        """`models`: what each new key may call; none named: all. `team_id`: whose keys they are. `base_url`: the proxy."""

        admin_key: SecretReference
        base_url: Address
        models: tuple[str, ...] = ()
        team_id: str | None = None
        max_budget: float | None = None

    def _admin(self) -> AdminApi:
        s = self.settings
        login = bearer(s.admin_key, self._resolve)
        return AdminApi("LiteLLM", s.base_url, login, s.timeout, f"put into {s.admin_key} a live key of a proxy admin")

    def _probe(self, verdicts: Verdicts) -> Probe:
        # LiteLLM refuses what does not begin with sk- in other words.
        return Probe(self.api, "GET", "/v1/models", with_bearer, verdicts, lambda: f"sk-{secrets.token_urlsafe(16)}")

    async def _granted(self) -> Rights:
        """By the role of the key's user. Where it is of no user, as a master key may be, LiteLLM has no answer. Another role
        is no denial: some may manage the keys of a team."""
        user, role = await self.api.read("/v2/user/info", _user)
        if role == _VIEWER and user != _MASTER:
            return Rights({_ADMIN: False}, f"its role is {_VIEWER}")
        return Rights({_ADMIN: role == "proxy_admin" or None}, "" if role == "proxy_admin" else "its user is no proxy_admin")

    @property
    def _of_team(self) -> dict[str, str]:
        return {"team_id": self.settings.team_id} if self.settings.team_id else {}

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. The key may call models, and not manage keys."""
        body: dict[str, Any] = {"key_alias": f"{label}-{secrets.token_hex(4)}", "key_type": "llm_api", **self._of_team}
        if self.settings.models:
            body["models"] = list(self.settings.models)
        if self.settings.max_budget is not None:
            body["max_budget"] = self.settings.max_budget
        if expires_in is not None:
            body["duration"] = f"{int(expires_in.total_seconds())}s"
        return await self.api.make("/key/generate", _created, json=body)

    async def _keys(self) -> Sequence[KeyRef]:
        """Without the filter `status`: blocked and expired ones, too. A list that changed between its pages is read anew:
        by page number, a key that moves up a page because another went would be missing."""
        for _ in range(_LOOKS):
            found = await self._one_look()
            if found is not None:
                return found
        raise UnavailableError("LiteLLM's list of keys changes while it is read")

    async def _one_look(self) -> Sequence[KeyRef] | None:
        found: dict[str, KeyRef] = {}
        total: int | None = None
        for page in range(1, _MOST_PAGES + 1):
            asked = {"page": str(page), "size": str(_PAGE), "return_full_object": "true", **self._of_team}
            here, count = await self.api.read("/key/list", _page, params=asked)
            if total not in (None, count):
                return None
            total = count
            found.update({key.id: key for key in here})
            if not here or len(found) >= total:
                return list(found.values()) if len(found) == total else None
        raise UnavailableError("LiteLLM's list of keys does not come to an end")

    async def _delete(self, key: KeyRef) -> bool:
        answer = await self.api.call("POST", "/key/delete", json={"keys": [key.id]}, passing=(404,))
        return answer.is_success

    async def disable(self, key: KeyRef) -> None:
        """Reversible: `enable`."""
        await self.api.call("POST", "/key/block", json={"key": key.id})

    async def enable(self, key: KeyRef) -> None:
        """As before `disable`."""
        await self.api.call("POST", "/key/unblock", json={"key": key.id})


def _user(document: Mapping[str, Any]) -> tuple[str, str]:
    return text(document.get("user_id")), text(document.get("user_role") or "")


def _created(document: Mapping[str, Any]) -> CreatedKey:
    return CreatedKey(_key({**document, "token": document.get("token_id")}), key_text(document.get("key")))


def _page(document: Mapping[str, Any]) -> tuple[Sequence[KeyRef], int]:
    count = document.get("total_count")
    if isinstance(count, bool) or not isinstance(count, int):
        raise UnreadableError
    return [_key(mapping(each)) for each in items(document.get("keys"))], count


def _key(data: Mapping[str, Any]) -> KeyRef:
    """`token` is the SHA-256 of the key's text here, and the key's id."""
    name = name_of(data.get("key_alias"))
    labelled = _OURS.fullmatch(name)
    return KeyRef(
        id=plain_id(data.get("token")),
        name=labelled[1] if labelled else name,
        hint=hint_of(data.get("key_name")),
        owner=name_of(data.get("team_id")),
        created_at=_moment(data.get("created_at")),
        last_used_at=_moment(data.get("last_active")),
        expires_at=_moment(data.get("expires")),
    )


def _moment(value: Any) -> datetime | None:
    """LiteLLM reads a time without a zone as UTC, wherever it compares one."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(text(value))
    except ValueError:
        raise UnreadableError from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
