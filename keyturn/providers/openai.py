"""OpenAI: project keys of service accounts, by the Admin API.

Facts are from the `openai` SDK 3.54.0 (resources/admin/organization/projects) unless said otherwise. OpenAI publishes no
figure for propagation or for the lag of `last_used_at`, so both are settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import httpx
from pydantic import Field, model_validator

from keyturn.durations import Duration
from keyturn.errors import (
    DeniedError,
    KeyturnError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    PermanentError,
    ThrottledError,
    UnavailableError,
)
from keyturn.http_answers import no_cookies, pause, read_body
from keyturn.json_object import UnreadableError, json_object
from keyturn.material import KeyMaterial
from keyturn.model import Capabilities, CreatedKey, Finding, Judgement, KeyRef, LoginLife, Verdict
from keyturn.providers.facts import Facts, May
from keyturn.providers.login_settings import LoginSettings, life_among
from keyturn.providers.negative_control import NegativeControl, no_such_key
from keyturn.providers.openai_admin_answers import KEYS as ADMIN_KEYS
from keyturn.providers.openai_admin_answers import asked
from keyturn.providers.openai_admin_answers import page as admin_page
from keyturn.providers.openai_answers import ID, LABEL, Answer, Listed, created, listed, page, thing
from keyturn.providers.openai_calls import CALLS, FACTS
from keyturn.providers.pages import TokenPage, by_token
from keyturn.providers.permissions import findings as permission_findings
from keyturn.providers.permissions import may
from keyturn.references import Address, Resolver, SecretReference

_LARGEST_ANSWER = 8 * 1024 * 1024  # a page of a hundred keys has some 60 KB
_LONGEST_LIFETIME = timedelta(seconds=31_536_000)
_EPOCH = datetime.fromtimestamp(0, UTC)
_T = TypeVar("_T")
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)

# Status and error.code of GET /models -> what that says about the key. The code None is any other, or none at all.
# One row alone is determinate: a 401 has more causes than a dead key (platform.openai.com/docs/guides/error-codes).
_JUDGEMENTS: Mapping[tuple[int, str | None], tuple[Verdict, str]] = {
    (401, "invalid_api_key"): (Verdict.REJECTED, "OpenAI does not accept the key (401 invalid_api_key)"),
    (401, "account_deactivated"): (Verdict.INDETERMINATE, "the account behind the key is deactivated (401)"),
    (401, None): (Verdict.INDETERMINATE, "401, but not for the key itself: an IP allow-list, a membership, a missing scope"),
    (402, None): (Verdict.INDETERMINATE, "the account has a billing problem (402), which says nothing about the key"),
    (403, None): (Verdict.INDETERMINATE, "the key may not list models (403): restricted scopes, or an unsupported country"),
    (429, "insufficient_quota"): (Verdict.INDETERMINATE, "the quota is used up (429 insufficient_quota)"),
    (429, None): (Verdict.INDETERMINATE, "too many requests (429)"),
}
_KNOWN_CODES = frozenset(code for _, code in _JUDGEMENTS)


class OpenAI:
    """The keys of one project.

    With `service_account`, each rotation adds a key to that account, named by the label. Without, each rotation makes a
    service account named by the label, and its first key, which OpenAI names itself, is the key. `KeyRef.name` is the
    label in both cases, and `KeyRef.owner` the account's id.

    The admin key is one of the organization's (they cannot do inference), with permission to read and write project API
    keys and service accounts. It is resolved anew for every call.
    """

    FACTS: ClassVar[Facts] = FACTS
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = CALLS

    class Settings(LoginSettings):
        admin_key: SecretReference
        project: str = Field(pattern=f"^{ID.pattern}$")
        service_account: str | None = Field(default=None, pattern=f"^{ID.pattern}$")
        scopes: tuple[str, ...] | None = Field(default=None, min_length=1)
        base_url: Address = "https://api.openai.com/v1"
        usage_lag: Duration = timedelta(minutes=10)
        propagation: Duration = timedelta(seconds=60)
        timeout: Duration = timedelta(seconds=30)

        @model_validator(mode="after")
        def _scopes_need_an_account(self) -> OpenAI.Settings:
            if self.scopes is not None and self.service_account is None:
                raise ValueError("scopes needs service_account: OpenAI cannot restrict the first key of a new account")
            return self

    def __init__(self, settings: Settings, resolve: Resolver) -> None:
        self.settings = settings
        self._resolve = resolve
        self._client: httpx.AsyncClient | None = None
        self._control = NegativeControl(self._judge, lambda: no_such_key("sk-"))
        self._project = f"/organization/projects/{settings.project}"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            shape="create_delete",
            supports_expiry=True,
            reports_last_use=True,
            usage_lag=self.settings.usage_lag,
            propagation=self.settings.propagation,
        )

    async def preflight(self) -> Sequence[Finding]:
        """The admin key, the project and the service account, as far as reading shows. What fails is a finding.

        Whether the admin key may also write shows only on writing; a create that it may not do makes nothing.
        """
        account = self.settings.service_account
        findings = [await self._look(may([May.LIST], "OpenAI"), "/api_keys", {"limit": "1"})]
        if findings[0].ok:
            findings += await permission_findings(self.FACTS)
            if account is None:
                looks = self._look("the admin key lists the project's service accounts", "/service_accounts", {"limit": "1"})
            else:
                looks = self._look(f"service account {account} belongs to the project", f"/service_accounts/{account}")
            # An admin key limited to keys and accounts may be denied the project itself: that alone stops nothing.
            project = self._look(f"project {self.settings.project} is live", "", denied=None)
            findings += await asyncio.gather(project, looks)
        return findings

    async def _look(
        self, what: str, path: str, params: Mapping[str, str] | None = None, denied: bool | None = False
    ) -> Finding:
        try:
            answer = await self._read(path, thing, params)
        except KeyturnError as error:
            ok = {ThrottledError: None, DeniedError: denied}.get(type(error), False)
            return Finding(what, ok, error.message, error.remedy)
        if answer.get("status") == "archived":
            return Finding(what, False, "it is archived", "name another project in `project`")
        if answer.get("role") == "none":
            return Finding(what, None, "it has no role in the project", "see to it that its keys may do inference")
        return Finding(what, True)

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. Needs permission to write service accounts and project API keys.

        LostAnswerError also for a 5xx and for an answer that cannot be read: the key may exist. MisconfiguredError, with
        nothing sent, for a lifetime that OpenAI does not have (1 second to 365 days).
        """
        account = self.settings.service_account
        body: dict[str, Any] = {"name": label}
        if expires_in is not None:
            if not timedelta(seconds=1) <= expires_in <= _LONGEST_LIFETIME:
                raise MisconfiguredError("a key at OpenAI lives 1 second to 365 days", remedy="change key_lifetime")
            body["expires_in_seconds"] = int(expires_in.total_seconds())
        if account is not None and self.settings.scopes is not None:
            body["scopes"] = [*self.settings.scopes]
        path = "/service_accounts" if account is None else f"/service_accounts/{account}/api_keys"
        answer = await self._admin("POST", path, json=body, creating=True)
        try:
            return created(answer.document, account)
        except UnreadableError:
            raise LostAnswerError("OpenAI answered a create with something that is not a key") from None

    async def list(self) -> Sequence[KeyRef]:
        """Every enabled key of the project, whoever owns it, oldest first. Needs permission to read project API keys."""
        return [replace(each.key, name=each.label) for each in await self._listed()]

    async def find(self, label: str) -> Sequence[KeyRef]:
        """Every key that is named so itself, or by the account that was made for it."""
        configured = self.settings.service_account
        return [
            replace(each.key, name=label)
            for each in await self._listed()
            if label == each.key.name or (label == each.account_name and each.key.owner != configured)
        ]

    async def _listed(self) -> Sequence[Listed]:
        params = {"limit": "100", "owner_project_access": "any"}  # without it, keys that still work may be left out
        found: dict[str, Listed] = {}
        while True:
            keys, more, last = await self._read("/api_keys", page, params)
            known = len(found)
            found.update({each.key.id: each for each in keys})
            if not more:
                return sorted(found.values(), key=lambda each: (each.key.created_at or _EPOCH, each.key.id))
            if len(found) == known:
                raise UnavailableError("OpenAI's list of keys does not come to an end")
            params["after"] = last

    async def last_used(self, key: KeyRef) -> datetime | None:
        """`last_used_at`, read anew. NotFoundError for a key that is not in the project, or no longer."""
        return (await self._read(f"/api_keys/{_path_safe(key.id)}", listed)).key.last_used_at

    async def revoke(self, key: KeyRef) -> None:
        """Delete the key, and with it the account that keyturn made for it. Needs permission to write both.

        A 404 counts only when the project can be listed and the key is not in it; else NotFoundError. (A key of another
        project that the admin key can see reads as absent too: only trying the key tells.) Until late 2026 OpenAI answered
        400 for a key of a service account. Then the account is deleted instead, if keyturn made it for this key alone;
        for any other account PermanentError, and nothing is deleted.
        """
        status = await self._delete(f"/api_keys/{_path_safe(key.id)}", passing=(400, 404))
        if status < 300 and not self._may_be_minted(key.owner, key.name):
            return
        there = await self._listed()
        still = next((other.key for other in there if other.key.id == key.id), None)
        if status == 404 and still is not None:
            raise UnavailableError(f"OpenAI lists the key {key.id}, and has none of that id when it is to be deleted")
        account = await self._minted_for(still or key, key.name, there)
        undeleted = status == 400 and still is not None
        if undeleted and account is None:
            raise PermanentError(
                f"OpenAI does not delete the key {key.id}: it belongs to a service account, or its project is archived",
                remedy="delete it in OpenAI's dashboard (the project's API keys): keyturn deletes a whole account only "
                "where it made it for that key alone",
            )
        if account is not None:
            try:
                await self._delete(f"/service_accounts/{account}", passing=(404,))
            except PermanentError:
                if undeleted:  # else the key is gone, which is what was asked for: an empty account does no harm
                    raise

    def _may_be_minted(self, account: str, label: str) -> bool:
        return account not in ("", self.settings.service_account) and LABEL.fullmatch(label) is not None

    async def _minted_for(self, key: KeyRef, label: str, there: Sequence[Listed]) -> str | None:
        """The id of the account that was made for this key alone; None when there is none, or a doubt."""
        if not self._may_be_minted(key.owner, label):
            return None
        if any(other.key.owner == key.owner and other.key.id != key.id for other in there):
            return None
        try:
            account = await self._read(f"/service_accounts/{_path_safe(key.owner)}", thing)
        except NotFoundError:
            return None
        return key.owner if (account.get("id"), account.get("name")) == (key.owner, label) else None

    async def login_life(self) -> LoginLife | None:
        """From the organization's list of admin keys, where the admin key may read that. See TellsLogin."""
        admin_key = await self._resolve(self.settings.admin_key)

        async def read(after: str) -> TokenPage[KeyRef]:
            return await self._read(ADMIN_KEYS, admin_page, asked(after), below="")

        return life_among(admin_key, await by_token("OpenAI", read))

    async def check(self, material: KeyMaterial) -> Judgement:
        """GET /models with the key under test: free, but OpenAI may count it as a use of the key.

        ACCEPTED is believed only from an address that refuses a key nobody has: some gateways list models to anyone.
        """
        return await self._control.ask(material)

    async def _judge(self, material: KeyMaterial) -> Judgement:
        answer = await self._send("GET", "/models", material)
        if not isinstance(answer, Answer):
            return Judgement(Verdict.INDETERMINATE, f"no answer from base_url ({answer.__name__})")
        status, data = answer.status, answer.document
        if status == 200 and data.get("object") == "list" and isinstance(data.get("data"), list):
            return Judgement(Verdict.ACCEPTED, "OpenAI accepts the key")
        detail = data.get("error")
        code = detail.get("code") if isinstance(detail, dict) else None
        code = code if isinstance(code, str) and code in _KNOWN_CODES else None
        unknown = (Verdict.INDETERMINATE, f"the answer ({status}) says nothing about the key")
        return Judgement(*(_JUDGEMENTS.get((status, code)) or _JUDGEMENTS.get((status, None)) or unknown))

    async def aclose(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def _read(
        self,
        path: str,
        parse: Callable[[Mapping[str, Any]], _T],
        params: Mapping[str, str] | None = None,
        below: str | None = None,
    ) -> _T:
        answer = await self._admin("GET", path, params=params, below=below)
        try:
            return parse(answer.document)
        except UnreadableError:
            raise self._unreadable("GET", (self._project if below is None else below) + path) from None

    async def _delete(self, path: str, passing: Collection[int]) -> int:
        answer = await self._admin("DELETE", path, passing=passing)
        if answer.is_success and answer.document.get("deleted") is not True:
            raise self._unreadable("DELETE", self._project + path)
        return answer.status

    def _unreadable(self, method: str, path: str) -> UnavailableError:
        where = f"{method} {self.settings.base_url}{path}"
        return UnavailableError(f"the answer to {where} is not one of OpenAI's", remedy="check base_url")

    async def _admin(
        self,
        method: str,
        path: str,
        *,
        creating: bool = False,
        passing: Collection[int] = (),
        below: str | None = None,
        **sent: Any,
    ) -> Answer:
        """A call with the admin key, below the project, or `below`. Raises for all but 2xx and the statuses of `passing`."""
        path = (self._project if below is None else below) + path
        where = f"{method} {self.settings.base_url}{path}"
        admin_key = await self._resolve(self.settings.admin_key)
        answer = await self._send(method, path, admin_key, **sent)
        if isinstance(answer, Answer) and answer.status == 401:
            # It may have been rotated between its reading and its use. What is refused has done nothing.
            anew = await self._resolve(self.settings.admin_key)
            if anew != admin_key:
                answer = await self._send(method, path, anew, **sent)
        if not isinstance(answer, Answer):
            if issubclass(answer, _NOT_SENT):
                raise UnavailableError(
                    f"OpenAI cannot be reached for {where} ({answer.__name__})",
                    remedy="check base_url, the network and the proxy variables",
                )
            raise (LostAnswerError if creating else UnavailableError)(f"no answer to {where} ({answer.__name__})")
        if answer.is_success or answer.status in passing:
            return answer
        raise self._refusal(answer, where, creating)

    def _refusal(self, answer: Answer, where: str, creating: bool) -> KeyturnError:
        status, words = answer.status, f"OpenAI answered {answer.status} to {where}"
        if status in (401, 403):
            return DeniedError(
                words,
                remedy=f"put into {self.settings.admin_key} a live admin key of the organization (its settings, Admin keys) "
                "that may read and write project API keys and service accounts; look at the IP allow-list too",
            )
        if status == 404:
            remedy = "check project and service_account, and that the admin key is of their organization"
            return NotFoundError(words, remedy=remedy)
        if status == 429:
            return ThrottledError(words, retry_after=pause(answer.headers.get("retry-after")))
        if status in (408, 409) or status >= 500:
            return LostAnswerError(words) if creating else UnavailableError(words)
        if creating and status in (400, 422):
            return MisconfiguredError(
                words,
                remedy="see that the project is not archived, that the scopes exist, and that key_lifetime fits the "
                "organization's policy (where it sets a maximum, a lifetime is required)",
            )
        return PermanentError(words, remedy="check base_url")

    async def _send(self, method: str, path: str, material: KeyMaterial, **sent: Any) -> Answer | type[httpx.HTTPError]:
        """The answer, or of what kind the error is that came instead: it may hold what was sent, or what was read."""
        # Bytes, because a str that is not ASCII fails with an exception that holds it.
        headers = {b"Authorization": f"Bearer {material.reveal()}".encode()}
        try:
            async with self._http().stream(method, path, headers=headers, **sent) as answer:
                body = await read_body(answer, _LARGEST_ANSWER, self.settings.timeout.total_seconds())
                return Answer(answer.status_code, answer.headers, json_object(body))
        except httpx.HTTPError as error:
            return type(error)

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            # Waiting for a connection of our own is no fault of OpenAI's: that alone has no limit.
            timeout = httpx.Timeout(self.settings.timeout.total_seconds(), pool=None)
            try:
                self._client = httpx.AsyncClient(base_url=self.settings.base_url, timeout=timeout, cookies=no_cookies())
            except (httpx.InvalidURL, ValueError, OSError, ImportError) as error:
                raise MisconfiguredError(
                    f"no client for {self.settings.base_url} can be made ({type(error).__name__})",
                    remedy="check base_url, the proxy variables and SSL_CERT_FILE",
                ) from None
        return self._client


def _path_safe(id: str) -> str:
    if not ID.fullmatch(id):
        raise NotFoundError("what stands for an id is not one of OpenAI's")
    return id
