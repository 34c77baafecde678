"""Fireworks: keys of one user or service account, by its gateway API."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from keyturn.json_object import UnreadableError
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.admin_api import AdminApi, segment
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import hint_of, items, key_text, name_of, optional_iso, plain_id, rfc3339
from keyturn.providers.logins import bearer, with_bearer
from keyturn.providers.pages import TokenPage, by_token
from keyturn.providers.probe import Probe
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Row, Verdicts, dead
from keyturn.references import Address, SecretReference

_PAGE = 200  # keys; what GET .../users takes at most by the SDK's text, which names no bound for keys

_ADMIN = "an API key of a user with the role admin"


class Fireworks(Vendor):
    """The keys of one user of an account; best a service account of its own."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="Fireworks",
        shape=Shape.CREATE_DELETE,
        variables=("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", "FIREWORKSAI_API_KEY", "FIREWORKS_AI_TOKEN"),
        models="fireworks_ai/",
        login="an API key of an admin of the account: only such a one makes keys for another user",
        expiry="any moment",
        sources=(
            Source("PyPI fireworks-ai 1.2.28"),
            Source("docs.fireworks.ai/guides/inference-error-codes", what="which status means what"),
            Source(
                "github.com/can1357/oh-my-pi issue 3219", Known.SECONDARY, "why models are listed by account for a check"
            ),
            Source("memory", Known.RECALLED, "the answer to a key that was deleted, and to deleting one twice"),
        ),
        risks=(
            "The management credential is an API key like those that are rotated: let it be of another user.",
            "Nobody is told when a key was last used.",
            'By the SDK "pagination support" for keys is "to be added": a list that may be short is an error.',
        ),
        # GET .../users tells the role of each user, but nothing tells whose key the management key is.
        permissions=tuple(Permission(verb, (_ADMIN,), known=Known.RECALLED) for verb in (May.CREATE, May.LIST, May.DELETE)),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Fireworks",
        (
            # The page on error codes has both, "invalid API key" and "insufficient permissions", under 401.
            Row(401, "the key may not do this (401)", says="permission", known="R"),
            dead(401, "Fireworks", known="R"),
            Row(402, "the account is unpaid or over its limit (402)"),
            Row(412, "the account is suspended (412)"),
        ),
        accepted=lambda document: isinstance(document.get("models"), list),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("GET /v1/accounts/{account}/users/{user}/apiKeys, page by page", "admin of the account"),
        "create": ("POST /v1/accounts/{account}/users/{user}/apiKeys", "admin of the account"),
        "check": ("GET /v1/accounts/{account}/models, with the key under test, and once with a garbage key", "none"),
        "last_used": ("none: the vendor does not tell", "none"),
        "revoke": ("POST /v1/accounts/{account}/users/{user}/apiKeys:delete, then the list", "admin of the account"),
    }

    class Settings(VendorSettings):
        """`account`, `user`: their ids; the user is whom the keys belong to. `check_path`: what a key is tried with, where
        the default is not allowed to it; its answer has to have `models`."""

        admin_key: SecretReference
        account: str = Field(min_length=1)
        user: str = Field(min_length=1)
        check_path: str | None = Field(default=None, pattern=r"^/[!-~]*$")
        base_url: Address = "https://api.fireworks.ai"

    def _admin(self) -> AdminApi:
        s = self.settings
        remedy = f"put into {s.admin_key} a live API key of an admin of account {s.account}"
        return AdminApi("Fireworks", s.base_url, bearer(s.admin_key, self._resolve), s.timeout, remedy)

    def _probe(self, verdicts: Verdicts) -> Probe:
        path = self.settings.check_path or f"/v1/accounts/{segment(self.settings.account)}/models?pageSize=1"
        return Probe(self.api, "GET", path, with_bearer, verdicts, lambda: f"fw_{secrets.token_hex(12)}")

    @property
    def _path(self) -> str:
        return f"/v1/accounts/{segment(self.settings.account)}/users/{segment(self.settings.user)}/apiKeys"

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says: the key's text is in this answer alone."""
        key: dict[str, Any] = {"displayName": label}
        if expires_in is not None:
            key["expireTime"] = rfc3339(self._now() + expires_in)
        return await self.api.make(self._path, _created, json={"apiKey": key})

    async def _keys(self) -> Sequence[KeyRef]:
        return await by_token("Fireworks", self._page)

    async def _page(self, token: str) -> TokenPage[KeyRef]:
        asked = {"pageSize": str(_PAGE), **({"pageToken": token} if token else {})}
        return await self.api.read(self._path, _page, params=asked)

    async def _delete(self, key: KeyRef) -> bool:
        # What deleting a key that is gone is answered, nobody has written down: the list decides.
        answer = await self.api.call("POST", f"{self._path}:delete", passing=(400, 404), json={"keyId": key.id})
        return answer.is_success


def _created(document: Mapping[str, Any]) -> CreatedKey:
    return CreatedKey(_key(document), key_text(document.get("key")))


def _page(document: Mapping[str, Any]) -> TokenPage[KeyRef]:
    keys, token = [_key(each) for each in items(document.get("apiKeys"))], document.get("nextPageToken") or ""
    # Full, and no word of another page: either there are just so many, or the rest is left out.
    if not isinstance(token, str) or (not token and len(keys) == _PAGE):
        raise UnreadableError
    return keys, token


def _key(data: Mapping[str, Any]) -> KeyRef:
    prefix = hint_of(data.get("prefix"))
    return KeyRef(
        id=plain_id(data.get("keyId")),
        name=name_of(data.get("displayName")),
        hint=f"{prefix}..." if prefix and "*" not in prefix else prefix,
        owner=name_of(data.get("email")),
        created_at=optional_iso(data.get("createTime")),
        expires_at=optional_iso(data.get("expireTime")),
    )
