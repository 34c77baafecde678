"""Vault's dynamic engines: the key is a lease. Facts and calls: keyturn.vault.leases.

**Each key has a token of its own.** Keyturn makes an orphan token for it, reads the credentials with that, and forgets the
token. Read with the token of a login, a key would die with it: minutes after the rotation, in production.

**A create whose answer was lost** is settled by that token: it is revoked, and with it whatever was read with it, also a
lease that nobody has heard of. No lease of anybody else's can be meant. Where that fails too, or the process has died,
the token ends by itself after `_FUSE`: it is given its full life only once the credentials are here.

**What it cannot promise.** A lease bears no name, so nobody can find a key by its label. A process that is killed between
the create and the write leaves a lease behind that lives until its end; nobody has its text. Vault does not know when a key
was last used, and whether it is accepted only who takes it can tell: `check_url`, or LiteLLM alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, NoReturn

from pydantic import Field, model_validator

from keyturn import durations
from keyturn.durations import Duration
from keyturn.errors import (
    DeniedError,
    KeyturnError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    PermanentError,
)
from keyturn.json_object import UnreadableError, inside
from keyturn.material import KeyMaterial
from keyturn.model import Capabilities, CreatedKey, Finding, Judgement, KeyRef, Verdict
from keyturn.providers.bearer_check import BearerCheck
from keyturn.providers.facts import Facts, May, Permission, Shape, Source
from keyturn.providers.permissions import may
from keyturn.references import Address, Resolver
from keyturn.vault import leases
from keyturn.vault.client import VaultClient
from keyturn.vault.permissions import granted
from keyturn.vault.settings import ConnectionSettings, Mount
from keyturn.vault.token import Token, seconds

_FUSE = timedelta(minutes=5)  # longer than a create takes, with every request at its time limit
_ROUNDING = timedelta(seconds=5)  # Vault counts whole seconds, from the moment it is asked
_EPOCH = datetime.fromtimestamp(0, UTC)
_LEASE = re.compile(r"[A-Za-z0-9_.-]+")


def _now() -> datetime:
    return datetime.now(UTC)


class VaultDynamic:
    """The leases of one role of one engine. See the module's text.

    Keyturn's login needs: `update` on auth/token/create-orphan (or auth/token/create/<token_role>) and on
    sys/leases/revoke; with `can_list` `list` and `sudo` on sys/leases/lookup/<path>/. The key's own token has the policies
    of the login, or of the token role: they need `read` on <path>, and what the policy `default` allows.
    """

    FACTS: ClassVar[Facts] = Facts(
        vendor="Vault, OpenBao: a dynamic engine",
        shape=Shape.LEASED,
        variables=(),
        models="whatever takes the engine's keys",
        login="a login that may read the engine's path, make an orphan token and revoke leases",
        lists=False,
        expiry="up to the engine's longest lease",
        risks=(
            "a lease has no name: what a killed run has created and not written lives until it ends by itself",
            "Vault does not know when a key was last used, nor who accepts it",
        ),
        sources=(Source("the API pages of Vault 1.19, and OpenBao 2.7.2 as a real server in the tests"),),
        permissions=(
            Permission(
                May.CREATE,
                ("read on <path>", "update on auth/token/create-orphan or auth/token/create/<token_role>"),
                "POST sys/capabilities-self",
            ),
            Permission(
                May.LIST, ("with can_list: list and sudo on sys/leases/lookup/<path>/",), "POST sys/capabilities-self"
            ),
            Permission(May.DELETE, ("update on sys/leases/revoke",), "POST sys/capabilities-self"),
        ),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("LIST sys/leases/lookup/<path>/, POST sys/leases/lookup", "list and sudo on sys/leases/lookup/<path>/"),
        "create": (
            "POST auth/token/create-orphan or auth/token/create/<token_role>; then with the token that this gives: "
            "GET <path>, POST sys/leases/renew, POST auth/token/renew-self",
            "update on auth/token/create-orphan or auth/token/create/<token_role>; read on <path>",
        ),
        "check": ("GET <check_url> with the key under test, and once with a garbage key; nothing without check_url", "none"),
        "last_used": ("nothing: Vault does not know", "none"),
        "revoke": ("POST sys/leases/revoke, and it waits for the engine", "update on sys/leases/revoke"),
    }

    class Settings(ConnectionSettings):
        """`path`: what is read, such as database/creds/litellm; `field`: of its answer, the key. `max_ttl`: a key's life."""

        path: Mount = Field(max_length=90)
        field: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
        max_ttl: Duration
        token_role: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")
        can_list: bool = False
        check_url: Address | None = None
        propagation: Duration = timedelta(seconds=30)

        @model_validator(mode="after")
        def _times_fit(self) -> VaultDynamic.Settings:
            if self.max_ttl < 2 * _FUSE:
                raise ValueError(f"max_ttl must be {durations.text(2 * _FUSE)} or more: a rotation takes minutes")
            return self

    def __init__(self, settings: Settings, resolve: Resolver, now: Callable[[], datetime] = _now) -> None:
        self.settings = settings
        self._vault = VaultClient(settings, resolve)
        self._now = now
        seconds_to_answer = settings.timeout.total_seconds()
        self._check = BearerCheck(settings.check_url, seconds_to_answer) if settings.check_url else None

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            shape="leased",
            can_list=self.settings.can_list,
            can_check=self._check is not None,
            supports_expiry=True,
            propagation=self.settings.propagation,
        )

    async def preflight(self) -> Sequence[Finding]:
        """The login, the engine and the permissions, as far as reading shows. What fails is a finding."""
        path, role = self.settings.path, self.settings.token_role
        wanted: dict[str, tuple[str, ...]] = {
            path: ("read",),
            leases.token_path(role): ("update",),
            "sys/leases/revoke": ("update",),
        }
        verbs = [May.CREATE, May.CREATE, May.DELETE]
        if self.settings.can_list:
            wanted[f"sys/leases/lookup/{path}/"] = ("list", "sudo")
            verbs.append(May.LIST)
        findings = list(await self._vault.about_token())
        try:
            findings.append(await self._about_engine())
            capabilities = await self._vault.request("POST", "sys/capabilities-self", {"paths": [*wanted]})
        except PermanentError as error:
            return [*findings, Finding("what the token may do", None, error.message, error.remedy)]
        told = [
            replace(each, what=f"{may([verb], 'Vault')}: {each.what}")
            for verb, each in zip(verbs, granted(capabilities, wanted), strict=True)
        ]
        if role is not None and told[0].ok is False:
            # The token role brings policies of its own, which the login need not have.
            told[0] = Finding(told[0].what, None, "the login may not; whether the token role may shows at the create")
        return [*findings, *told]

    async def _about_engine(self) -> Finding:
        path = self.settings.path
        what = f"{path} is of an engine that gives leases"
        try:
            data = (await self._vault.request("GET", f"sys/internal/ui/mounts/{path}")).data
        except DeniedError:
            return Finding(what, False, "no engine that this login may use is there", "check path, and the login's policy")
        kind, most = data.get("type"), inside(data, "config", "max_lease_ttl")
        if kind in ("kv", "generic", "cubbyhole", "transit", "totp"):
            return Finding(what, False, f"it is of type {kind}, and gives none", "name the path of a dynamic engine")
        try:
            longest = timedelta(seconds=seconds(most))
        except UnreadableError:
            return Finding(what, None, "Vault does not say how long its leases may be")
        if longest and longest < self.settings.max_ttl:
            detail = f"its leases end after {durations.text(longest)} at the latest, and max_ttl says more"
            return Finding(what, False, detail, "`vault secrets tune -max-lease-ttl=...` the engine, or lower max_ttl")
        return Finding(what, True)

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says; the key lives for `expires_in`, and never longer than `max_ttl`.

        A failure is an error of any type once everything that may have been made is known to be gone, and LostAnswerError
        where it is not: it ends by itself. MisconfiguredError, and nothing is left, where the engine
        gives no lease of that length: such a key would end before its successor comes.
        """
        life = min(expires_in or self.settings.max_ttl, self.settings.max_ttl)
        try:
            token = await leases.make_token(self._vault, self.settings.token_role, _FUSE, label)
        except UnreadableError:
            raise self._vault.not_vault() from None  # a token without leases: it ends by itself
        failure: KeyturnError
        try:
            return await self._create(token, label, life)
        except UnreadableError:
            failure = self._vault.not_vault()
        except KeyturnError as error:
            failure = error
        await self._clear(token.material, life)
        raise failure

    async def _create(self, token: Token, label: str, life: timedelta) -> CreatedKey:
        if not token.orphan or not token.durable:
            self._refuse_token_role()
        path, began = self.settings.path, self._now()  # ends are counted from before they are asked for: never too late
        answer = await self._vault.request("GET", path, token=token.material)
        if answer.status == 404:
            raise NotFoundError(f"Vault has nothing at {path}", remedy="check path: the engine's mount, and its role")
        lease = leases.lease_in(answer, path)
        if lease is None:
            raise MisconfiguredError(
                f"{path} gives no lease: what it gave is not a key that keyturn could revoke",
                remedy="name the path of a dynamic engine's credentials, such as database/creds/<role>",
            )
        material = self._key_in(lease.data)
        granted_ttl = lease.ttl
        if timedelta(seconds=granted_ttl) < life and lease.renewable:
            granted_ttl = await leases.renew(self._vault, lease.id, life, token.material)
        self._demand(granted_ttl, life, f"a lease of {path}", "the engine's role and its mount: max_ttl, max_lease_ttl")
        # Last: until here all of it ends after the fuse.
        token_ttl = await leases.renew_token(self._vault, token.material, life)
        self._demand(token_ttl, life, "the key's own token", "the token role and the system's max_lease_ttl")
        ends = began + timedelta(seconds=min(granted_ttl, token_ttl))
        return CreatedKey(KeyRef(lease.id, label, created_at=began, expires_at=ends), material)

    def _key_in(self, data: Mapping[str, object]) -> KeyMaterial:
        found = data.get(self.settings.field)
        if isinstance(found, str):
            try:
                return KeyMaterial(found)
            except ValueError:
                pass
        raise MisconfiguredError(
            f"what {self.settings.path} gives has no usable key in its field {self.settings.field}",
            remedy="name in `field` the one that holds the key, such as password or api_key",
        )

    @staticmethod
    def _demand(ttl: float, life: timedelta, what: str, where: str) -> None:
        if timedelta(seconds=ttl) + _ROUNDING < life:
            had = durations.text(timedelta(seconds=ttl))
            raise MisconfiguredError(
                f"{what} lives for {had}, and the key has to live for {durations.text(life)}: nothing was kept",
                remedy=f"raise the limit ({where}), or lower max_ttl and rotate more often",
            )

    def _refuse_token_role(self) -> NoReturn:
        raise MisconfiguredError(
            "the token role makes tokens that a key cannot live on: they end with the login, or after some uses",
            remedy=f"`vault write auth/token/roles/{self.settings.token_role or '<role>'} orphan=true "
            "token_type=service token_num_uses=0 renewable=true`",
        )

    async def _clear(self, token: KeyMaterial, life: timedelta) -> None:
        """Revoke whatever was made. A refusal does not tell whether the token is gone or may not: that is no success."""
        cleared = False
        with suppress(KeyturnError):
            await leases.revoke_with_token(self._vault, token)
            cleared = True
        if not cleared:
            raise LostAnswerError(
                f"a create at {self.settings.path} failed, and what it may have made could not be revoked",
                remedy=f"none is needed: it ends by itself, mostly after {durations.text(_FUSE)} and at the latest after "
                f"{durations.text(life)}, and nobody has its text",
            )

    async def list(self) -> Sequence[KeyRef]:
        """Every lease at the path, whoever reads there, oldest first; without names, which leases do not have.

        Needs `list` and `sudo` on sys/leases/lookup/<path>/, and `update` on sys/leases/lookup (policy `default`).
        """
        try:
            ids = await leases.names(self._vault, self.settings.path)
            found = await asyncio.gather(*(leases.look_up(self._vault, each) for each in ids))
        except UnreadableError:
            raise self._vault.not_vault() from None
        refs = [KeyRef(each.id, "", created_at=each.issued_at, expires_at=each.ends_at) for each in found if each]
        return sorted(refs, key=lambda ref: (ref.created_at or _EPOCH, ref.id))

    async def find(self, label: str) -> Sequence[KeyRef]:
        """None: a lease bears no name. What a create may have left is dealt with by the create itself."""
        return ()

    async def last_used(self, key: KeyRef) -> datetime | None:
        """None: Vault does not know."""
        return None

    async def revoke(self, key: KeyRef) -> None:
        """Revoke the lease, and wait until the engine has done so. Absent is success.

        Needs `update` on sys/leases/revoke. NotFoundError, and nothing is asked, for what is no lease of this path.
        """
        rest = key.id.removeprefix(f"{self.settings.path}/")
        if rest == key.id or not _LEASE.fullmatch(rest):
            raise NotFoundError(f"what stands for a lease is none of {self.settings.path}", remedy="check path")
        await leases.revoke(self._vault, key.id)

    async def check(self, material: KeyMaterial) -> Judgement:
        """GET `check_url` with the key. INDETERMINATE without it: Vault does not know who accepts its keys."""
        if self._check is None:
            return Judgement(Verdict.INDETERMINATE, "Vault cannot tell whether a key is accepted, and there is no check_url")
        return await self._check.ask(material)

    async def aclose(self) -> None:
        await self._vault.aclose()
        if self._check is not None:
            await self._check.aclose()
