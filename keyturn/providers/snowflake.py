"""Snowflake Cortex: programmatic access tokens of one user, by statements of the SQL API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any, ClassVar

from pydantic import Field

from keyturn.durations import Duration
from keyturn.errors import ConflictError, DeniedError, KeyturnError, PermanentError
from keyturn.json_object import UnreadableError
from keyturn.model import CreatedKey, Finding, KeyRef
from keyturn.providers import snowflake_statements as sql
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import key_text, name_of, plain_id, text
from keyturn.providers.logins import behind
from keyturn.providers.negative_control import no_such_key
from keyturn.providers.probe import Probe
from keyturn.providers.snowflake_sql import STATEMENTS, SqlApi, executed, key_pair, moment, rows, token_type
from keyturn.providers.vendor import Vendor, VendorSettings
from keyturn.providers.verdicts import Row, Verdicts, dead
from keyturn.references import Address, SecretReference

PREFIX = "pat/"  # by which LiteLLM tells a programmatic access token from a JSON Web Token
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_RIGHT = "MODIFY PROGRAMMATIC AUTHENTICATION METHODS on the user"
_POST = f"POST {STATEMENTS}"


class Snowflake(Vendor):
    """The tokens of one user. The login is another user's, with a key pair: a token may not change tokens."""

    FACTS: ClassVar[Facts] = Facts(
        vendor="Snowflake Cortex",
        shape=Shape.CREATE_DELETE,
        variables=("SNOWFLAKE_JWT",),
        models="snowflake/",
        login="a user with a key pair, whose role has MODIFY PROGRAMMATIC AUTHENTICATION METHODS on the user of the tokens",
        disables=True,
        expiry="whole days, at most 365; none is asked for: most_days",
        most_keys=15,
        in_place="old text for whole hours",
        keyless="workload identity federation for Snowflake's drivers; LiteLLM cannot use it",
        sources=(
            Source(
                "docs.snowflake.com, programmatic access tokens and SQL API, read 2026-11-29", what="statements, answers"
            ),
            Source("github.com/snowflakedb/snowflake-rest-api-specs, commit 42671a9, sqlapi.yaml", what="the SQL API"),
            Source("github.com/snowflakedb/terraform-provider-snowflake, pkg/sdk", what="columns of the list, quoted names"),
            Source("PyPI litellm 1.106.2, llms/snowflake/utils.py", what="where the token goes"),
            Source("guides and issues of Snowflake's users", Known.SECONDARY, "how a token is refused"),
            Source("nobody", Known.RECALLED, "that check_statement starts no warehouse"),
        ),
        risks=(
            f"The value in the store is `{PREFIX}` and the token: LiteLLM sends any other text as a JSON Web Token of a key "
            "pair. It also needs SNOWFLAKE_ACCOUNT_ID, or an api_base.",
            "A service user's token is made and accepted only under a network policy, unless an authentication policy says "
            "otherwise; the policy has to admit the proxies and keyturn.",
            "Names of tokens have no hyphens and no small letters: `keyturn-a-b` is `KEYTURN_A_B` there.",
            "How a disabled or expired token is refused is not documented; that one without a network policy is refused "
            "otherwise than a dead one is known from users alone.",
            "No token lives longer than 365 days, or than the authentication policy says: one that is not rotated ends.",
            "The last use stands only in ACCOUNT_USAGE.CREDENTIALS, with a lag, and is not read.",
        ),
        # Grants can be shown, but they come by roles of roles as well.
        permissions=tuple(Permission(verb, (_RIGHT,)) for verb in (May.CREATE, May.LIST, May.DELETE, May.DISABLE)),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(
        "Snowflake",
        (
            dead(401, "Snowflake", code="394400", known="S"),
            Row(401, "the user is under no network policy (390432)", code="390432", known="S"),
            Row(422, "the token is accepted, and check_statement is not"),
        ),
        accepted=lambda document: isinstance(document.get("statementHandle"), str),
    )
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": (f"{_POST}: SHOW USER PROGRAMMATIC ACCESS TOKENS FOR USER", _RIGHT),
        "create": (f"{_POST}: ALTER USER ... ADD PROGRAMMATIC ACCESS TOKEN", _RIGHT),
        "check": (f"{_POST}: check_statement, with the token under test, and once with a garbage one", "none"),
        "last_used": ("none", "none"),
        "turn": (f"{_POST}: ALTER USER ... ROTATE PROGRAMMATIC ACCESS TOKEN; with `in_place`, instead of create", _RIGHT),
        "disable": (f"{_POST}: ALTER USER ... MODIFY PROGRAMMATIC ACCESS TOKEN ... SET DISABLED", _RIGHT),
        "revoke": (f"{_POST}: ALTER USER ... REMOVE PROGRAMMATIC ACCESS TOKEN, then SHOW", _RIGHT),
    }

    class Settings(VendorSettings):
        """`account`: its identifier. `user`: whose tokens they are. `login_user`: another user, who logs in by `private_key`
        (what `openssl pkey -in rsa_key.p8 -outform DER | base64 -w0` prints) and acts in `role`, or in the default role.
        `role_restriction`: the one role of a new token; a service user's needs one. `most_days`: how long a token lives for
        which no end was asked. `check_statement`: what a token is tried with. Names of users and roles are as SHOW prints
        them, mostly in capitals. `in_place`: a rotation gives the token in service a new text, and the old one lives so
        long, in whole hours. Without `base_url`: https://ACCOUNT.snowflakecomputing.com.
        """

        account: str = Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")
        user: str = Field(min_length=1, max_length=255)
        login_user: str = Field(min_length=1, max_length=255)
        private_key: SecretReference
        role: str | None = Field(default=None, min_length=1, max_length=255)
        role_restriction: str | None = Field(default=None, min_length=1, max_length=255)
        in_place: Duration | None = Field(default=None, ge=_HOUR, le=30 * _DAY)
        most_days: int = Field(default=365, ge=1, le=365)
        check_statement: str = sql.WHOSE
        base_url: Address | None = None

    def _admin(self) -> AdminApi:
        s = self.settings
        address = s.base_url or f"https://{s.account.lower().replace('_', '-')}.snowflakecomputing.com"
        remedy = f"give {s.login_user} the public key of {s.private_key}, and its role {_RIGHT} {s.user}"
        login = key_pair(s.account, s.login_user, s.private_key, self._resolve, self._now)
        return AdminApi("Snowflake", address, login, s.timeout, remedy)

    def _probe(self, verdicts: Verdicts) -> Probe:
        return Probe(
            self.api,
            "POST",
            STATEMENTS,
            lambda material: token_type("PROGRAMMATIC_ACCESS_TOKEN", behind(PREFIX, material)),
            verdicts,
            lambda: no_such_key(PREFIX),
            lambda _: {"json": {"statement": self.settings.check_statement}},
            f"the text does not begin with {PREFIX}, without which LiteLLM takes it for a JSON Web Token",
        )

    @property
    def _sql(self) -> SqlApi:
        return SqlApi(self.api, self.settings.role, self.settings.timeout)

    async def preflight(self) -> Sequence[Finding]:
        """And whether the user is under a network policy, as far as that is shown: a service user's tokens need one."""
        what, found = f"{self.settings.user} is under a network policy", list(await super().preflight())
        try:
            policies = await self._sql.run(sql.network_policy(self.settings.user), rows)
        except KeyturnError as error:
            return [*found, Finding(what, None, error.message, error.remedy)]
        if any(row.get("value") for row in policies):
            return [*found, Finding(what, True)]
        remedy = (
            "a service user needs one that allows the proxies and keyturn, or an authentication policy that asks for none"
        )
        return [*found, Finding(what, None, "none is shown for the user or the account", remedy)]

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. Without an end of ours Snowflake would end it after 15 days."""
        days = self.settings.most_days if expires_in is None else ceil(expires_in / _DAY)
        statement = sql.add(self.settings.user, sql.token_name(label), days, self.settings.role_restriction)
        end = self._now() + timedelta(days=days)
        return await self._sql.run(statement, lambda document: _created(document, label, end), creating=True)

    @property
    def old_text_lives(self) -> timedelta | None:
        """In whole hours, rounded up."""
        return _HOUR * ceil(self.settings.in_place / _HOUR) if self.settings.in_place else None

    async def turn(self, key: KeyRef, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. The new text lives as many days as the token was first made for, whatever is asked."""
        lives = self.old_text_lives or _HOUR
        if key.expires_at is None or key.expires_at - self._now() < lives:
            raise ConflictError(f"the token {key.id} ends before its old text is to: Snowflake cannot put that off")
        statement = sql.rotate(self.settings.user, key.id, lives // _HOUR)
        return await self._sql.run(statement, lambda document: _turned(document, key), creating=True)

    async def _keys(self) -> Sequence[KeyRef]:
        """Without the old texts of tokens that were turned: they are in the list under names of their own."""
        return await self._sql.run(
            sql.listed(self.settings.user),
            lambda document: [_key(row) for row in self._of_the_user(document) if not row.get("rotated_to")],
        )

    async def _old_texts(self, key: KeyRef) -> Sequence[str]:
        return await self._sql.run(
            sql.listed(self.settings.user),
            lambda document: [_key(row).id for row in self._of_the_user(document) if row.get("rotated_to") == key.id],
        )

    def _of_the_user(self, document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        found = rows(document)
        if any(row.get("user_name") != self.settings.user for row in found):
            raise UnreadableError
        return found

    async def _delete(self, key: KeyRef) -> bool:
        """Snowflake refuses to remove what is not there, with a code that is not documented: the list says whether it is.
        Who may not remove is not asked: a list that one may not see might be empty. An old text of the token goes first."""
        if self.settings.in_place:
            for name in await self._old_texts(key):
                await self._sql.run(sql.remove(self.settings.user, name), executed)
        try:
            await self._sql.run(sql.remove(self.settings.user, key.id), executed)
        except DeniedError:
            raise
        except PermanentError:
            if any(other.id == key.id for other in await self._keys()):
                raise
            return False
        return True

    async def disable(self, key: KeyRef) -> None:
        """Reversible: `enable`."""
        await self._sql.run(sql.set_disabled(self.settings.user, key.id, True), executed)

    async def enable(self, key: KeyRef) -> None:
        """As before `disable`."""
        await self._sql.run(sql.set_disabled(self.settings.user, key.id, False), executed)


def _created(document: Mapping[str, Any], label: str, end: datetime | None) -> CreatedKey:
    found = rows(document)
    if len(found) != 1:
        raise UnreadableError
    key = KeyRef(id=plain_id(found[0].get("token_name"), 255), name=label, expires_at=end)
    return CreatedKey(key, key_text(PREFIX + text(found[0].get("token_secret"))))


def _turned(document: Mapping[str, Any], key: KeyRef) -> CreatedKey:
    found = _created(document, key.name, key.expires_at)
    if found.ref.id != key.id:
        raise UnreadableError
    return found


def _key(row: Mapping[str, Any]) -> KeyRef:
    name = plain_id(row.get("name"), 255)
    return KeyRef(
        id=name,
        name=sql.label_of(name_of(name)),
        created_at=moment(row.get("created_on")),
        expires_at=moment(row.get("expires_at")) if row.get("expires_at") else None,
    )
