"""Databricks: secrets of a service principal (OAuth), or tokens on behalf of one (PATs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from keyturn.durations import Duration
from keyturn.json_object import UnreadableError
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.admin_api import AdminApi, Login, segment
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import iso, items, key_text, mapping, name_of, optional_iso, plain_id, text, unix
from keyturn.providers.logins import bearer, with_bearer
from keyturn.providers.pages import by_token
from keyturn.providers.permissions import Rights
from keyturn.providers.probe import Probe
from keyturn.providers.token_login import TokenLogin, client_credentials, no_login, with_basic
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Verdicts, dead, error_code, error_message
from keyturn.references import Address, SecretReference

_DAY = timedelta(days=1)
_ME = "/api/2.0/preview/scim/v2/Me"
_ADMIN, _ACCOUNT_ADMIN = "workspace admin (the group admins)", "account admin"
_TOLD_BY = "pat: GET scim/v2/Me (groups)"
_ON_BEHALF = "/api/2.0/token-management/on-behalf-of/tokens"
_TOKENS = "/api/2.0/token-management/tokens"


class Databricks(Vendor):
    """`mode: m2m_secret`: OAuth secrets of one service principal, at the account. `mode: pat`: tokens in one workspace."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="Databricks",
        shape=Shape.CREATE_DELETE,
        variables=("DATABRICKS_API_KEY", "DATABRICKS_CLIENT_SECRET"),
        models="databricks/",
        login="m2m_secret: an account admin's OAuth login; pat: a workspace admin's, or a token of one",
        expiry="any second; none is asked for: 730 days",
        last_use="the day, of a pat; nothing is told of a secret",
        most_keys=5,
        sources=(
            Source("PyPI databricks-sdk 0.156.0, service/oauth2, service/settings, oauth"),
            Source("memory", Known.RECALLED, "five secrets of a service principal; how a dead key is refused"),
        ),
        risks=(
            "A secret has no name: one whose create was never answered cannot be found again, and takes one of the five "
            "places until a person deletes it.",
            "OAuth tokens that were got with a secret live on for up to an hour after it is deleted.",
            "A pat's last use is known to the day: it is taken for the end of that day.",
            "With m2m_secret LiteLLM needs DATABRICKS_CLIENT_ID, the application id, beside the secret; both need "
            "DATABRICKS_API_BASE.",
        ),
        # Nothing tells a login at the account what it may do there.
        permissions=tuple(
            Permission(verb, (f"pat: {_ADMIN}; m2m_secret: {_ACCOUNT_ADMIN}",), _TOLD_BY, only_yes=True)
            for verb in (May.CREATE, May.LIST, May.DELETE)
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Databricks",
        (
            dead(401, "Databricks", code="invalid_client", known="S"),  # the token endpoint, RFC 6749
            dead(401, "Databricks", says="invalid access token", known="R"),
            dead(403, "Databricks", says="invalid access token", known="R"),
        ),
        accepted=lambda found: isinstance(found.get("access_token"), str) or isinstance(found.get("userName"), str),
        code=lambda document: str(document.get("error_code") or error_code(document)),
        message=error_message,
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("GET .../servicePrincipals/{id}/credentials/secrets; pat: GET token-management/tokens", "admin"),
        "create": ("POST .../credentials/secrets; pat: POST token-management/on-behalf-of/tokens", "admin"),
        "check": (
            "POST /oidc/accounts/{account}/v1/token, or GET scim/v2/Me, with the key under test and a garbage one",
            "none",
        ),
        "last_used": ("pat: GET token-management/tokens", "workspace admin"),
        "revoke": ("DELETE of the secret or token, then GET the list", "admin"),
    }

    class Settings(VendorSettings):
        """`application_id`: of the service principal, which LiteLLM calls the client id. m2m_secret needs `account` and
        `service_principal` (its number) and the account's console as `host`; pat needs the workspace as `host`.

        Log in with `token`, or with `client_id` and `client_secret`. `most_secrets`: of a service principal.
        """

        mode: Literal["m2m_secret", "pat"]
        host: Address
        application_id: str
        account: str | None = None
        service_principal: str | None = None
        token: SecretReference | None = None
        client_id: str | None = None
        client_secret: SecretReference | None = None
        most_secrets: int = 5
        usage_lag: Duration = _DAY

        @model_validator(mode="after")
        def _whole(self) -> Self:
            if self.mode == "m2m_secret" and not (self.account and self.service_principal):
                raise ValueError("m2m_secret needs account and service_principal")
            if (self.token is None) is (self.client_secret is None) or (self.client_id is None) is not (
                self.client_secret is None
            ):
                raise ValueError("log in with token, or with client_id and client_secret")
            return self

    def _admin(self) -> AdminApi:
        s = self.settings
        remedy = f"put into {s.token or s.client_secret} the credential of an admin of {s.host}"
        return AdminApi("Databricks", s.host, self._login(remedy), s.timeout, remedy)

    def _login(self, remedy: str) -> Login:
        s = self.settings
        if s.token is not None:
            return bearer(s.token, self._resolve)
        tokens = AdminApi("Databricks", s.host, no_login, s.timeout, remedy)
        exchange = client_credentials(s.client_id, scope="all-apis")
        return TokenLogin(tokens, self._oidc, exchange, s.client_secret, self._resolve, self._now)

    def _probe(self, verdicts: Verdicts) -> Probe:
        """A secret is exchanged for a token, which is not kept. A pat asks who it is."""
        if not self._of_secrets:
            return Probe(self.api, "GET", _ME, with_bearer, verdicts)
        user, form = self.settings.application_id, {"grant_type": "client_credentials", "scope": "all-apis"}
        return Probe(
            self.api, "POST", self._oidc, lambda key: with_basic(user, key), verdicts, sent=lambda _: {"data": form}
        )

    @property
    def _of_secrets(self) -> bool:
        return bool(self.settings.mode == "m2m_secret")

    @property
    def _oidc(self) -> str:
        """The token endpoint: of the account, or of the workspace."""
        account = self.settings.account
        return f"/oidc/accounts/{segment(account)}/v1/token" if account else "/oidc/v1/token"

    @property
    def _secrets(self) -> str:
        s = self.settings
        owner = f"accounts/{segment(s.account)}/servicePrincipals/{segment(s.service_principal)}"
        return f"/api/2.0/{owner}/credentials/secrets"

    def _facts(self) -> Facts:
        needs, told_by = ((_ACCOUNT_ADMIN,), "") if self._of_secrets else ((_ADMIN,), _TOLD_BY)
        may = tuple(replace(each, needs=needs, told_by=told_by) for each in self.FACTS.permissions)
        if self._of_secrets:
            return replace(self.FACTS, last_use="", most_keys=self.settings.most_secrets, permissions=may)
        return replace(self.FACTS, most_keys=None, permissions=may)

    async def _granted(self) -> Rights:
        """Of a workspace: whether who logs in is one of its group `admins`. By way of another group it may be one unseen."""
        is_admin = await self.api.read(_ME, _is_admin)
        return Rights({_ADMIN: is_admin or None}, "" if is_admin else "it is not seen to be in the group admins")

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. A secret cannot bear the label."""
        seconds = None if expires_in is None else int(expires_in.total_seconds())
        if self._of_secrets:
            return await self.api.make(
                self._secrets, _new_secret, json={} if seconds is None else {"lifetime": f"{seconds}s"}
            )
        body = {"application_id": self.settings.application_id, "comment": label}
        lifetime = {} if seconds is None else {"lifetime_seconds": seconds}
        return await self.api.make(_ON_BEHALF, self._new_token, json={**body, **lifetime})

    async def _keys(self) -> Sequence[KeyRef]:
        """The secrets of the service principal; or every token of the workspace, whoever owns it."""
        if not self._of_secrets:
            return await self.api.read(_TOKENS, self._tokens_of)

        async def read(token: str) -> tuple[Sequence[KeyRef], str]:
            return await self.api.read(self._secrets, _secrets_of, params={"page_token": token} if token else {})

        return await by_token("Databricks", read)

    async def find(self, label: str) -> Sequence[KeyRef]:
        """Every key named exactly so. No secret is: it has no name."""
        return [] if self._of_secrets else await super().find(label)

    async def _delete(self, key: KeyRef) -> bool:
        path = self._secrets if self._of_secrets else _TOKENS
        return (await self.api.call("DELETE", f"{path}/{segment(key.id)}", passing=(404,))).is_success

    def _new_token(self, document: Mapping[str, Any]) -> CreatedKey:
        return CreatedKey(self._token(mapping(document.get("token_info"))), key_text(document.get("token_value")))

    def _tokens_of(self, document: Mapping[str, Any]) -> Sequence[KeyRef]:
        return [self._token(each) for each in items(document.get("token_infos", []))]

    def _token(self, data: Mapping[str, Any]) -> KeyRef:
        """Times are milliseconds. The day of the last use says that it was used at any moment of it: the last one counts, or
        a use after the roll would be taken for one before it."""
        day = _optional_ms(data.get("last_used_day"))
        return KeyRef(
            id=plain_id(data.get("token_id")),
            name=name_of(data.get("comment")),
            owner=plain_id(str(data["owner_id"])) if data.get("owner_id") is not None else "",
            created_at=_ms(data.get("creation_time")),
            last_used_at=None if day is None else max(day, min(_end_of(day), self._now())),
            expires_at=_optional_ms(data.get("expiry_time")),
        )


def _is_admin(document: Mapping[str, Any]) -> bool:
    text(document.get("userName"))  # UnreadableError for what is nobody
    return any(group.get("display") == "admins" for group in items(document.get("groups", [])))


def _end_of(day: datetime) -> datetime:
    return day.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + _DAY


def _ms(value: Any) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnreadableError
    return unix(value / 1000)


def _optional_ms(value: Any) -> datetime | None:
    """None, 0 and -1 say that there is none: -1 is the end of a token that has none."""
    return None if value is None or value in (0, -1) else _ms(value)


def _new_secret(document: Mapping[str, Any]) -> CreatedKey:
    return CreatedKey(_secret(document), key_text(document.get("secret")))


def _secrets_of(document: Mapping[str, Any]) -> tuple[Sequence[KeyRef], str]:
    """The secrets, and what asks for those that follow: "" on the last page. How many there are says nothing of that."""
    following = document.get("next_page_token")
    return [_secret(each) for each in items(document.get("secrets", []))], text(following) if following else ""


def _secret(data: Mapping[str, Any]) -> KeyRef:
    return KeyRef(
        id=plain_id(data.get("id")),
        name="",
        created_at=iso(data.get("create_time")),
        expires_at=optional_iso(data.get("expire_time")),
    )
