"""Cloudflare: tokens of an account, for Workers AI."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

from keyturn.errors import ConflictError, MisconfiguredError, NotFoundError
from keyturn.json_object import inside
from keyturn.model import CreatedKey, Finding, KeyRef, LoginLife
from keyturn.providers.admin_api import AdminApi, segment
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source, WithoutOverlap
from keyturn.providers.fields import iso, items, key_text, mapping, name_of, optional_iso, plain_id, rfc3339, text
from keyturn.providers.logins import bearer, with_bearer
from keyturn.providers.pages import by_number
from keyturn.providers.permissions import Rights
from keyturn.providers.probe import Probe
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Verdicts, dead
from keyturn.references import Address, SecretReference

_WRITE = "Account API Tokens Write"
_TOLD_BY = "GET /accounts/{account}/tokens/verify and /accounts/{account}/tokens/{id}, of itself"
_PAGE = "50"  # tokens
_KEPT = ("name", "condition", "expires_on", "not_before", "status")  # what a PUT would take away if it did not say it


def _error(document: Mapping[str, Any], field: str) -> str:
    errors = document.get("errors")
    found = inside(errors[0], field) if isinstance(errors, list) and errors else ""
    return str(found) if isinstance(found, str | int) else ""


class Cloudflare(Vendor):
    """The account's own tokens. A new one gets the policies of the token `like`, which is never changed."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="Cloudflare",
        shape=Shape.CREATE_DELETE,
        variables=("CLOUDFLARE_API_KEY",),
        models="cloudflare/",
        login="an account token that may edit the account's API tokens",
        disables=True,
        expiry="any moment",
        last_use="to the second",
        in_place="without overlap",
        sources=(
            Source("PyPI cloudflare 5.9.0, resources/accounts/tokens"),
            Source("programs that make account tokens", Known.SECONDARY, "the names of the permission groups"),
            Source("github.com/kissgyorgy/cloudflare-dyndns issue 40, and others", Known.SECONDARY, "what refuses a token"),
        ),
        risks=(
            "A management token with the permission list_self sees only the tokens that it made: others are not listed, and "
            "one of them counts as gone once its deletion was asked for.",
            "LiteLLM needs CLOUDFLARE_ACCOUNT_ID beside the key.",
        ),
        permissions=(
            Permission(May.CREATE, (_WRITE,), _TOLD_BY, only_yes=True, known=Known.SECONDARY),
            Permission(May.LIST, ("Account API Tokens Read",), known=Known.SECONDARY),
            Permission(May.DELETE, (_WRITE,), _TOLD_BY, only_yes=True, known=Known.SECONDARY),
            Permission(May.DISABLE, (_WRITE,), _TOLD_BY, only_yes=True, known=Known.SECONDARY),
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Cloudflare",
        # The message is "Invalid API Token". 400 with the code 6003 says that the header has not the form of a token's.
        (dead(401, "Cloudflare", code="1000", known="S"),),
        accepted=lambda document: inside(document, "result", "status") == "active",
        code=lambda document: _error(document, "code"),
        message=lambda document: _error(document, "message"),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("GET /accounts/{account}/tokens, page by page", "Account API Tokens Read"),
        "create": (
            "GET /accounts/{account}/tokens/{like}, then POST /accounts/{account}/tokens",
            "Account API Tokens Write",
        ),
        "check": ("GET /accounts/{account}/tokens/verify, with the key under test, and once with a garbage key", "none"),
        "last_used": ("GET /accounts/{account}/tokens", "Account API Tokens Read"),
        "revoke": ("DELETE /accounts/{account}/tokens/{id}, then GET the list", "Account API Tokens Write"),
        "turn": (
            "GET and PUT /accounts/{account}/tokens/{id}, then PUT .../value; with `in_place`, instead of create",
            "Account API Tokens Write",
        ),
        "disable": ("GET and PUT /accounts/{account}/tokens/{id}", "Account API Tokens Write"),
        "login_life": ("GET /accounts/{account}/tokens/verify and /tokens/{id}", "Account API Tokens Read"),
    }

    class Settings(VendorSettings):
        """`like`: the id of a token whose policies and conditions new ones get. It should be one that no rotation deletes;
        it may be disabled. `in_place: without_overlap`: a rotation gives the token in service a new value, and its old one
        is refused at once, so that requests fail until every member is rolled; without, it makes another token."""

        management_token: SecretReference
        account: str
        like: str
        in_place: WithoutOverlap | None = None
        base_url: Address = "https://api.cloudflare.com/client/v4"

    def _admin(self) -> AdminApi:
        s = self.settings
        remedy = f"put into {s.management_token} a live token that may edit the account's API tokens"
        return AdminApi("Cloudflare", s.base_url, bearer(s.management_token, self._resolve), s.timeout, remedy)

    def _probe(self, verdicts: Verdicts) -> Probe:
        # Of a token's form, which is 40 characters: any other text is answered 400, which says nothing.
        return Probe(self.api, "GET", f"{self._tokens}/verify", with_bearer, verdicts, lambda: secrets.token_urlsafe(30))

    async def login_life(self) -> LoginLife | None:
        """GET .../tokens/verify tells the id of the management token, and GET .../tokens/{id} the rest."""
        id = await self.api.read(f"{self._tokens}/verify", lambda document: plain_id(_result(document).get("id")))
        return await self.api.read(f"{self._tokens}/{segment(id)}", _life)

    @property
    def _tokens(self) -> str:
        return f"/accounts/{segment(self.settings.account)}/tokens"

    async def preflight(self) -> Sequence[Finding]:
        """Besides: whether the token `like` is there, without which no key can be made."""
        found = list(await super().preflight())
        if found[0].ok:
            what = "the token `like` has policies to copy"
            try:
                await self._template()
            except (NotFoundError, MisconfiguredError) as error:
                return [*found, Finding(what, False, error.message, error.remedy)]
            found.append(Finding(what, True))
        return found

    async def _granted(self) -> Rights:
        """Of the token's own policies. Newer groups of permissions may allow it, too: that none is seen is no denial."""
        id = await self.api.read(f"{self._tokens}/verify", lambda document: plain_id(_result(document).get("id")))
        account = f"com.cloudflare.api.account.{self.settings.account}"
        effects = await self.api.read(f"{self._tokens}/{segment(id)}", partial(_effects, account))
        has = bool(effects) and set(effects) == {"allow"}
        return Rights({_WRITE: has or None}, "" if has else "no policy of the token says so")

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says."""
        body: dict[str, Any] = {"name": label, **await self._template()}
        if expires_in is not None:
            body["expires_on"] = rfc3339(self._now() + expires_in)
        return await self.api.make(self._tokens, _created, json=body)

    @property
    def old_text_lives(self) -> timedelta | None:
        """None at all, where it is asked for."""
        return timedelta(0) if self.settings.in_place else None

    async def turn(self, key: KeyRef, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. A token that has an end is given a new one first."""
        path = f"{self._tokens}/{segment(key.id)}"
        found = await self.api.read(path, _written)
        if "expires_on" in found:
            if expires_in is None:
                raise ConflictError(f"the token {key.id} has an end, and without a lifetime that is not set anew")
            await self.api.call("PUT", path, json={**found, "expires_on": rfc3339(self._now() + expires_in)})
        return await self.api.make(f"{path}/value", lambda document: _turned(key, document), "PUT", json={})

    async def _template(self) -> Mapping[str, Any]:
        """What a new token may do, in the form that a create takes."""
        like = self.settings.like
        found = await self.api.read(f"{self._tokens}/{segment(like)}", _written)
        if not found["policies"]:
            raise MisconfiguredError(f"the Cloudflare token {like} has no policies", remedy="name another as `like`")
        return {name: found[name] for name in ("policies", "condition") if name in found}

    async def _keys(self) -> Sequence[KeyRef]:
        """Expired ones, too: without the parameter they would be left out."""

        async def read(number: int) -> Sequence[KeyRef]:
            asked = {"include_expired": "true", "direction": "asc", "per_page": _PAGE, "page": str(number)}
            return await self.api.read(self._tokens, _page, params=asked)

        return await by_number("Cloudflare", read)

    async def _delete(self, key: KeyRef) -> bool:
        answer = await self.api.call("DELETE", f"{self._tokens}/{segment(key.id)}", passing=(404,))
        return answer.is_success

    async def disable(self, key: KeyRef) -> None:
        """Reversible: `enable`."""
        await self._set_status(key, "disabled")

    async def enable(self, key: KeyRef) -> None:
        """As before `disable`."""
        await self._set_status(key, "active")

    async def _set_status(self, key: KeyRef, status: str) -> None:
        """A PUT replaces the whole token: all that it has is sent back, lest a limit of it be lost."""
        path = f"{self._tokens}/{segment(key.id)}"
        found = await self.api.read(path, _written)
        if found.get("status") != status:
            await self.api.call("PUT", path, json={**found, "status": status})


def _result(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(document.get("result"))


def _life(document: Mapping[str, Any]) -> LoginLife:
    found = _result(document)
    return LoginLife(optional_iso(found.get("issued_on")), optional_iso(found.get("expires_on")))


def _effects(account: str, document: Mapping[str, Any]) -> Sequence[str]:
    """Of each policy about writing the account's tokens: allow, or deny."""
    found = []
    for policy in items(_result(document).get("policies")):
        names = [each.get("name") for each in items(policy.get("permission_groups"))]
        resources = mapping(policy.get("resources"))
        if _WRITE in names and (account in resources or "com.cloudflare.api.account.*" in resources):
            found.append(text(policy.get("effect")))
    return found


def _written(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A token as a PUT takes it."""
    found = _result(document)
    kept = {name: found[name] for name in _KEPT if found.get(name) is not None}
    return {**kept, "policies": [_policy(policy) for policy in items(found.get("policies"))]}


def _policy(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without its own id, and with its permission groups by their ids. Read strictly: a policy that is half understood
    might allow more."""
    groups = [{"id": plain_id(group.get("id"))} for group in items(found.get("permission_groups"))]
    return {"effect": text(found.get("effect")), "permission_groups": groups, "resources": mapping(found.get("resources"))}


def _created(document: Mapping[str, Any]) -> CreatedKey:
    found = _result(document)
    return CreatedKey(_key(found), key_text(found.get("value")))


def _turned(key: KeyRef, document: Mapping[str, Any]) -> CreatedKey:
    return CreatedKey(key, key_text(document.get("result")))


def _page(document: Mapping[str, Any]) -> Sequence[KeyRef]:
    return [_key(each) for each in items(document.get("result"))]


def _key(data: Mapping[str, Any]) -> KeyRef:
    return KeyRef(
        id=plain_id(data.get("id")),
        name=name_of(data.get("name")),
        created_at=iso(data.get("issued_on")),
        last_used_at=optional_iso(data.get("last_used_on")),
        expires_at=optional_iso(data.get("expires_on")),
    )
