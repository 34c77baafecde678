"""xAI: keys of one team, by its management API."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from keyturn.durations import Duration
from keyturn.errors import ConflictError, KeyturnError, MisconfiguredError, UnavailableError
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, Judgement, KeyRef, Verdict
from keyturn.providers.admin_api import AdminApi, Answer, segment
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import plain_id, rfc3339
from keyturn.providers.logins import bearer, with_bearer
from keyturn.providers.pages import TokenPage, by_token
from keyturn.providers.probe import Probe
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Row, Verdicts, dead
from keyturn.providers.xai_answers import Entry, created, example_for, lacking_regions, page, turned
from keyturn.references import Address, SecretReference

_PAGE = "https://docs.x.ai/developers/rest-api-reference/management/auth"
_ITSELF = "/v1/api-key"
_BARS = ("api_key_disabled", "api_key_blocked", "team_blocked")
_WRITE = "a management key of a team admin with read and write"
_MAY_NOTHING = "a key without permissions can do nothing"


class XAI(Vendor):
    """The keys of a team. A key that is accepted counts only once every region has it."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="xAI",
        shape=Shape.CREATE_DELETE,
        variables=("XAI_API_KEY",),
        models="xai/",
        login="a management key of a team admin, read and write: one of another user sees that user's own keys alone",
        disables=True,
        expiry="any moment",
        in_place="old text up to 7 days",
        sources=(
            Source(f"{_PAGE} and .../developers/debugging, 2026-11-23", what="requests, answers, what a status means"),
            Source("issues of programs that use it", Known.SECONDARY, "the sentence for a dead key, 400"),
            Source("memory", Known.RECALLED, "that a deleted key gets that sentence, that fieldMask takes `disabled`"),
        ),
        risks=("Nobody is told when a key was last used.",),
        # GET /auth/management-keys/validation tells the team of a management key; what it may do, its example does not.
        permissions=(
            Permission(May.CREATE, (_WRITE,)),
            Permission(May.LIST, ("a management key with read",)),
            Permission(May.DELETE, (_WRITE,)),
            Permission(May.DISABLE, (_WRITE,)),
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "xAI",
        (
            dead(400, "xAI", says="incorrect api key", known="S"),
            dead(400, "xAI", says="incorrect%20api%20key", known="S"),  # seen so in 2025
            dead(401, "xAI"),
            Row(403, "the key or its team is blocked, or may not do this (403)"),
        ),
        accepted=lambda document: isinstance(document.get("redacted_api_key"), str),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("GET /auth/teams/{team}/api-keys, page by page", "management key, read"),
        "create": ("POST /auth/teams/{team}/api-keys; without `acls` in the settings after the list", "write"),
        "check": ("GET /v1/api-key, with the key under test; then GET /auth/api-keys/{id}/propagation", "read"),
        "last_used": ("none: the vendor does not tell", "none"),
        "revoke": ("DELETE /auth/api-keys/{id}, then the list", "write"),
        "turn": ("POST /auth/api-keys/{id}/rotate; with `in_place`, instead of create", "write"),
        "disable": ("PUT /auth/api-keys/{id}, then the list", "write"),
    }

    class Settings(VendorSettings):
        """`in_place`: a rotation gives the key in service a new text, and the old one lives so long; without, it makes
        another key. `acls`: the permissions of each new key, as `api-key:model:*` and `api-key:endpoint:*`. Without, they
        and the limits are those of the newest key of the same credential, at first of the key `copy_from` (a name, or an
        id). `regions`: whether a key is accepted only once each has it."""

        management_key: SecretReference
        team: str = Field(min_length=1)
        in_place: Duration | None = Field(default=None, ge=timedelta(hours=1), le=timedelta(days=7))
        acls: tuple[str, ...] | None = Field(default=None, min_length=1)
        copy_from: str | None = Field(default=None, min_length=1)
        qps: int | None = Field(default=None, ge=1)
        qpm: int | None = Field(default=None, ge=1)
        tpm: int | None = Field(default=None, ge=1)
        regions: bool = True
        base_url: Address = "https://management-api.x.ai"
        api_url: Address = "https://api.x.ai"

        @model_validator(mode="after")
        def _may_something(self) -> Self:
            if not self.acls and self.copy_from is None:
                raise ValueError(f"say acls, or copy_from: {_MAY_NOTHING}")
            return self

    def _admin(self) -> AdminApi:
        s = self.settings
        self._login = bearer(s.management_key, self._resolve)
        self._remedy = f"put into {s.management_key} a live management key of team {s.team}"
        return AdminApi("xAI", s.base_url, self._login, s.timeout, self._remedy)

    def _probe(self, verdicts: Verdicts) -> Probe:
        self._models = AdminApi("xAI", self.settings.api_url, self._login, self.settings.timeout, self._remedy)
        return Probe(self._models, "GET", _ITSELF, with_bearer, verdicts, lambda: f"xai-{secrets.token_hex(40)}")

    @property
    def _path(self) -> str:
        return f"/auth/teams/{segment(self.settings.team)}/api-keys"

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. Nothing is made without permissions: MisconfiguredError."""
        body: dict[str, Any] = {"name": label, **await self._rights(label)}
        if expires_in is not None:
            body["expireTime"] = rfc3339(self._now() + expires_in)
        return await self.api.make(self._path, created, json=body)

    @property
    def old_text_lives(self) -> timedelta | None:
        """As the settings say."""
        lives: timedelta | None = self.settings.in_place
        return lives

    async def turn(self, key: KeyRef, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. The key's end, where it is to have one, is set anew."""
        ends = {"oldSecretExpireTime": rfc3339(self._now() + (self.settings.in_place or timedelta(0)))}
        if expires_in is not None:
            ends["expireTime"] = rfc3339(self._now() + expires_in)
        elif key.expires_at is not None:
            raise ConflictError(f"the key {key.id} has an end, and without a lifetime that is not set anew")
        return await self.api.make(f"/auth/api-keys/{segment(key.id)}/rotate", turned(key.id), json=ends)

    async def _rights(self, label: str) -> Mapping[str, Any]:
        s = self.settings
        chosen = {"qps": s.qps, "qpm": s.qpm, "tpm": None if s.tpm is None else str(s.tpm)}
        own = {name: value for name, value in chosen.items() if value is not None}
        if s.acls is not None:
            return {"acls": list(s.acls), **own}
        example = example_for(label, await self._entries(), s.copy_from)
        if example is None or not example.acls:
            told = "there is no key to copy permissions from" if example is None else f"{example.ref.id} has no permissions"
            raise MisconfiguredError(f"{told}, and {_MAY_NOTHING}: none was made", remedy="set acls, or another copy_from")
        return {"acls": list(example.acls), **example.limits, **own}

    async def _keys(self) -> Sequence[KeyRef]:
        return [each.ref for each in await self._entries()]

    async def _entries(self) -> Sequence[Entry]:
        return await by_token("xAI", self._page)

    async def _page(self, token: str) -> TokenPage[Entry]:
        asked = {"pageSize": "100", "activeOnly": "false", **({"paginationToken": token} if token else {})}
        return await self.api.read(self._path, page, params=asked)

    async def _delete(self, key: KeyRef) -> bool:
        # What deleting a key that is gone is answered, the page does not say: the list decides.
        answer = await self.api.call("DELETE", f"/auth/api-keys/{segment(key.id)}", passing=(400, 404))
        return answer.is_success

    async def disable(self, key: KeyRef) -> None:
        """Reversible: `enable`."""
        await self._set_disabled(key, True)

    async def enable(self, key: KeyRef) -> None:
        """As before `disable`."""
        await self._set_disabled(key, False)

    async def _set_disabled(self, key: KeyRef, wanted: bool) -> None:
        body = {"apiKey": {"disabled": wanted}, "fieldMask": "disabled"}
        await self.api.call("PUT", f"/auth/api-keys/{segment(key.id)}", json=body)
        if not any(each.ref.id == key.id and each.disabled is wanted for each in await self._entries()):
            raise UnavailableError(f"xAI does not list the key {key.id} as {'disabled' if wanted else 'enabled'}")

    async def check(self, material: KeyMaterial) -> Judgement:
        """Of a new key one region may know before another does: it is undecided until all do."""
        judgement = await super().check(material)
        if judgement.verdict is not Verdict.ACCEPTED:
            return judgement
        answer = await self._models.send("GET", _ITSELF, with_bearer(material))
        told = answer.document if isinstance(answer, Answer) and answer.is_success else {}
        bars = [bar for bar in _BARS if told.get(bar) is not False]
        if bars:
            return Judgement(Verdict.INDETERMINATE, f"xAI knows the key, but not that it is free of: {', '.join(bars)}")
        return await self._everywhere(told.get("api_key_id")) if self.settings.regions else judgement

    async def _everywhere(self, id: Any) -> Judgement:
        try:
            lacking = await self.api.read(f"/auth/api-keys/{segment(plain_id(id))}/propagation", lacking_regions)
        except (KeyturnError, UnreadableError) as error:
            why = error.message if isinstance(error, KeyturnError) else "it has no id"
            return Judgement(Verdict.INDETERMINATE, f"whether every region has the key (`regions`) is not told: {why}")
        if lacking:
            return Judgement(Verdict.INDETERMINATE, f"accepted, but {lacking} of xAI's regions do not have the key yet")
        return Judgement(Verdict.ACCEPTED, "xAI accepts the key, and every region has it")

    async def aclose(self) -> None:
        await super().aclose()
        await self._models.aclose()
