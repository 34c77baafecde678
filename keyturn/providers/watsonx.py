"""IBM watsonx: API keys of a service ID, by IBM Cloud's IAM Identity Services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from keyturn.durations import Duration
from keyturn.json_object import UnreadableError
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.admin_api import AdminApi, segment
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import iso, items, key_text, mapping, name_of, optional_iso, plain_id, text
from keyturn.providers.pages import by_token
from keyturn.providers.probe import Probe
from keyturn.providers.token_login import TokenLogin, in_form, no_login
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Verdicts, dead
from keyturn.references import Address, SecretReference

_TOKENS = "/identity/token"
# The exchange of a key for a token, as ibm-cloud-sdk-core does it; LiteLLM does it with the key under test.
_EXCHANGE = in_form("apikey", grant_type="urn:ibm:params:oauth:grant-type:apikey", response_type="cloud_iam")


class Watsonx(Vendor):
    """The API keys of one service ID. The management key is exchanged for a token, and so is a key under test."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="IBM watsonx",
        shape=Shape.CREATE_DELETE,
        variables=("WX_API_KEY", "WATSONX_API_KEY", "WATSONX_APIKEY"),
        models="watsonx/",
        login="an API key of an identity that may administer the service ID's keys (service-id.apikeys)",
        disables=True,
        expiry="any minute",
        last_use="the last exchange for a token, with the setting `activity`",
        sources=(
            Source("PyPI ibm-platform-services 0.77, iam_identity_v1"),
            Source("PyPI ibm-cloud-sdk-core, token_managers", what="the exchange for a token"),
            Source("tests of ibm-cloud-sdk-core and others", Known.SECONDARY, "what refuses a key: BXNIM0415E"),
        ),
        risks=(
            "Tokens that were got with a key live on for up to an hour after it is deleted or disabled: a proxy that holds "
            "one is refused only when that ends.",
            "A key's last use is its last exchange: calls with the token of it go on for up to an hour unseen, so usage_lag "
            "has to be longer than that.",
            "A check of a key is an exchange, too, and counts as a use of it.",
            "LiteLLM needs WATSONX_URL and WATSONX_PROJECT_ID beside the key, and reads WATSONX_TOKEN and WATSONX_ZENAPIKEY "
            "before it.",
        ),
        # IAM's policies can be read, but they come by access groups as well, and to read them takes more than the rest.
        permissions=tuple(
            Permission(verb, (f"iam-identity.apikey.{action} on the service ID",), known=Known.RECALLED)
            for verb, action in (
                (May.CREATE, "create"),
                (May.LIST, "list"),
                (May.DELETE, "delete"),
                (May.DISABLE, "update"),
            )
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "IBM",
        (dead(400, "IBM", code="BXNIM0415E", known="S"),),  # "Provided API key could not be found."
        accepted=lambda document: isinstance(document.get("access_token"), str),
        code=lambda document: str(document.get("errorCode") or ""),
        message=lambda document: str(document.get("errorMessage") or ""),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "login": ("POST /identity/token, with the management key", "none"),
        "list": ("GET /v1/apikeys, page by page", "iam-identity.apikey.list"),
        "create": ("POST /v1/apikeys", "iam-identity.apikey.create"),
        "check": ("POST /identity/token, with the key under test, and once with a garbage key", "none"),
        "last_used": ("GET /v1/apikeys/{id}, with `activity`", "iam-identity.apikey.get"),
        "revoke": (
            "DELETE /v1/apikeys/{id}, then GET /v1/apikeys; unlocked before, with `lock`",
            "iam-identity.apikey.delete",
        ),
        "disable": ("POST /v1/apikeys/{id}/disable, and DELETE of that to enable", "iam-identity.apikey.update"),
    }

    class Settings(VendorSettings):
        """`iam_id`: of the service ID. `lock`: new keys are locked, so that nobody changes or deletes one by mistake; a key
        that somebody else has locked is left alone without it. `activity`: read when a key was last exchanged for a token,
        which IBM calls expensive."""

        management_key: SecretReference
        iam_id: str
        account: str
        lock: bool = False
        activity: bool = False
        usage_lag: Duration = timedelta(minutes=70)  # a token lives for an hour, and carries calls that nobody reports
        base_url: Address = "https://iam.cloud.ibm.com"

    def _admin(self) -> AdminApi:
        s = self.settings
        remedy = f"put into {s.management_key} an API key that may administer the service ID's keys"
        tokens = AdminApi("IBM", s.base_url, no_login, s.timeout, remedy)
        login = TokenLogin(tokens, _TOKENS, _EXCHANGE, s.management_key, self._resolve, self._now)
        return AdminApi("IBM", s.base_url, login, s.timeout, remedy)

    def _probe(self, verdicts: Verdicts) -> Probe:
        """The token that comes back for a live key is not kept."""
        return Probe(self.api, "POST", _TOKENS, lambda _: {}, verdicts, sent=lambda key: {"data": dict(_EXCHANGE(key)[1])})

    def _facts(self) -> Facts:
        return self.FACTS if self.settings.activity else replace(self.FACTS, last_use="")

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. Names need not be unique at IBM. IBM is told not to keep the text."""
        s = self.settings
        body: dict[str, Any] = {"name": label, "iam_id": s.iam_id, "account_id": s.account, "store_value": False}
        if expires_in is not None:
            body["expires_at"] = _minute(self._now() + expires_in)
        return await self.api.make("/v1/apikeys", _created, json=body, more={b"Entity-Lock": b"true"} if s.lock else {})

    async def _keys(self) -> Sequence[KeyRef]:
        asked = {"account_id": self.settings.account, "iam_id": self.settings.iam_id, "pagesize": "100"}

        async def read(token: str) -> tuple[Sequence[KeyRef], str]:
            return await self.api.read("/v1/apikeys", _page, params={**asked, **({"pagetoken": token} if token else {})})

        return await by_token("IBM", read)

    async def last_used(self, key: KeyRef) -> datetime | None:
        """The last exchange for a token. NotFoundError for a key that is not there."""
        if not self.facts.last_use:
            return None
        return await self.api.read(self._path(key), _last_exchange, params={"include_activity": "true"})

    async def _delete(self, key: KeyRef) -> bool:
        if not await self._unlock(key):
            return False
        return (await self.api.call("DELETE", self._path(key), passing=(404,))).is_success

    async def disable(self, key: KeyRef) -> None:
        """Reversible: `enable`. A locked key is unlocked for it, with the setting `lock`."""
        await self._unlock(key)
        await self.api.call("POST", f"{self._path(key)}/disable")

    async def enable(self, key: KeyRef) -> None:
        """As before `disable`."""
        await self._unlock(key)
        await self.api.call("DELETE", f"{self._path(key)}/disable")
        if self.settings.lock:
            await self.api.call("POST", f"{self._path(key)}/lock")

    async def _unlock(self, key: KeyRef) -> bool:
        """False: IBM has no such key. A lock that is none of ours is not touched."""
        if self.settings.lock:
            found = await self.api.call("GET", self._path(key), passing=(404,))
            if not found.is_success:
                return False
            if found.document.get("locked") is not False:
                await self.api.call("DELETE", f"{self._path(key)}/lock")
        return True

    @staticmethod
    def _path(key: KeyRef) -> str:
        return f"/v1/apikeys/{segment(key.id)}"


def _minute(moment: datetime) -> str:
    """As IBM takes it: whole minutes, and not before the moment."""
    return (moment.astimezone(UTC) + timedelta(seconds=59)).strftime("%Y-%m-%dT%H:%M+0000")


def _created(document: Mapping[str, Any]) -> CreatedKey:
    return CreatedKey(_key(document), key_text(document.get("apikey")))


def _page(document: Mapping[str, Any]) -> tuple[Sequence[KeyRef], str]:
    """The keys, and the token of the page that follows: "" on the last."""
    keys = [_key(each) for each in items(document.get("apikeys"))]
    if document.get("next") is None:
        return keys, ""
    try:
        tokens = parse_qs(urlsplit(text(document["next"])).query).get("pagetoken", [])
    except ValueError:
        raise UnreadableError from None
    if len(tokens) != 1:
        raise UnreadableError
    return keys, tokens[0]


def _last_exchange(document: Mapping[str, Any]) -> datetime | None:
    """None only where it is said that there was none: what is not told is no idle key."""
    plain_id(document.get("id"))
    activity = mapping(document.get("activity"))
    if activity.get("authn_count") == 0 and not activity.get("last_authn"):
        return None
    return iso(activity.get("last_authn"))


def _key(data: Mapping[str, Any]) -> KeyRef:
    """Without `apikey`, which has the key's text where IBM was told to keep it."""
    return KeyRef(
        id=plain_id(data.get("id")),
        name=name_of(data.get("name")),
        owner=plain_id(data.get("iam_id")),
        created_at=iso(data.get("created_at")),
        expires_at=optional_iso(data.get("expires_at")),
    )
