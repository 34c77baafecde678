"""Snowflake's SQL API: a statement is sent, and asked for again until it is done. The login is a key pair.

Requests and answers: specifications/sqlapi.yaml of github.com/snowflakedb/snowflake-rest-api-specs, and docs.snowflake.com,
"Handling responses" and "Authenticating to the server".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyturn.errors import (
    DeniedError,
    KeyturnError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    PermanentError,
    UnavailableError,
)
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.providers.admin_api import AdminApi, Answer, Headers, Login, segment
from keyturn.providers.again import again
from keyturn.providers.fields import items, mapping, text, unix
from keyturn.providers.logins import with_bearer
from keyturn.providers.signed_token import rsa_key_of, signed_token
from keyturn.references import Resolver

STATEMENTS = "/api/v2/statements"
_LIFETIME = timedelta(minutes=10)  # of a login; Snowflake allows an hour. Each call has its own
_NO_RIGHT = "003001"  # insufficient privileges
_NOT_THERE = "002003"  # does not exist, or not authorized
_CODE = re.compile(r"[0-9]{6}")
_MOMENT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(?: [0-9]{1,4})?")
_T = TypeVar("_T")


def token_type(kind: str, material: KeyMaterial) -> Headers:
    """A bearer, and what it is: KEYPAIR_JWT or PROGRAMMATIC_ACCESS_TOKEN."""
    return {**with_bearer(material), b"X-Snowflake-Authorization-Token-Type": kind.encode()}


def key_pair(account: str, user: str, reference: str, resolve: Resolver, now: Callable[[], datetime]) -> Login:
    """The login of `user` with the private key that the reference leads to: see `rsa_key_of`."""

    read: dict[str, RSAPrivateKey] = {}  # the last one, by its fingerprint: to read a key takes longer than to sign with it

    async def login() -> Headers:
        material = await resolve(reference)
        if material.fingerprint() not in read:
            read.clear()
            with suppress(UnreadableError):
                read[material.fingerprint()] = rsa_key_of(material)
        if not read:  # said where no exception is at hand: what could not be read is a key
            raise MisconfiguredError(
                f"{reference} is not an RSA private key on one line",
                remedy="put there what `openssl pkey -in rsa_key.p8 -outform DER | base64 -w0` prints",
            )
        (key,) = read.values()
        begun, name = int(now().timestamp()), f"{account.partition('.')[0]}.{user}".upper()
        times = {"iat": begun, "exp": begun + int(_LIFETIME.total_seconds())}
        claims = {"iss": f"{name}.{fingerprint(key)}", "sub": name, **times}
        return token_type("KEYPAIR_JWT", KeyMaterial(signed_token(key, claims)))

    return login


def fingerprint(key: RSAPrivateKey) -> str:
    """Of its public half, as DESCRIBE USER shows it in RSA_PUBLIC_KEY_FP."""
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"SHA256:{base64.b64encode(sha256(public).digest()).decode()}"


class SqlApi:
    """`role`: the one that statements run with; without, the default role of the user that logs in."""

    def __init__(self, api: AdminApi, role: str | None, patience: timedelta) -> None:
        self._api, self._role, self._patience = api, role, patience

    async def run(self, statement: str, parse: Callable[[Mapping[str, Any]], _T], creating: bool = False) -> _T:
        """What `parse` makes of the result. The statement is in no error: it holds names alone, but answers hold keys.

        DeniedError, or another PermanentError, where Snowflake refuses the statement: nothing was done. `creating`: as
        AdminApi.make.
        """
        # Snowflake cancels it when we have given up: nothing is made after we have looked for it.
        body: dict[str, Any] = {"statement": statement, "timeout": max(1, int(self._patience.total_seconds()))}
        body |= {"role": self._role} if self._role else {}
        answer = await self._api.call("POST", STATEMENTS, creating=creating, passing=(422,), json=body)
        try:
            answer = await self._done(answer)
            if answer.status != 422:
                return self._api.parsed(answer, f"POST {STATEMENTS}", parse)
        except KeyturnError:
            if not creating:
                raise
        if answer.status == 422 and (answer.is_json or not creating):  # a web page does not say that nothing was made
            raise self._refusal(answer, creating)
        raise LostAnswerError("Snowflake did not tell what became of a create")

    async def _done(self, answer: Answer) -> Answer:
        if answer.status != 202:
            return answer
        where = self._api.parsed(answer, f"POST {STATEMENTS}", _handle)
        async for _ in again(self._patience):
            answer = await self._api.call("GET", where, passing=(422, 429))
            if answer.status not in (202, 429):  # 429: of one that was asked for again, and is not done
                return answer
        raise UnavailableError(f"a statement was not done after {self._patience.total_seconds():g} seconds")

    def _refusal(self, answer: Answer, creating: bool) -> KeyturnError:
        code = answer.document.get("code")
        code = code if isinstance(code, str) and _CODE.fullmatch(code) else "none"
        words = f"Snowflake refuses the statement (422, code {code})"
        if code == _NO_RIGHT:
            return DeniedError(words, remedy=self._api.remedy)
        if code == _NOT_THERE:
            return NotFoundError(words, remedy=f"see that the user of the tokens is there; {self._api.remedy}")
        if creating:
            remedy = (
                "see whether the settings, and key_lifetime, are what Snowflake takes, and the user has a network policy"
            )
            return MisconfiguredError(words, remedy=remedy)
        return PermanentError(words, remedy="check the settings of this provider")


def executed(document: Mapping[str, Any]) -> None:
    """That it is a result at all."""
    text(document.get("statementHandle"))


def rows(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """All rows of a result, by the names of its columns in small letters. UnreadableError for a part of them: a list that
    is cut off would make a key that is there a key that is gone."""
    executed(document)
    about, data = mapping(document.get("resultSetMetaData")), document.get("data")
    names = [text(column.get("name")).lower() for column in items(about.get("rowType"))]
    if not isinstance(data, list) or about.get("numRows") != len(data):
        raise UnreadableError
    if not all(isinstance(row, list) and len(row) == len(names) for row in data):
        raise UnreadableError
    return [dict(zip(names, row, strict=True)) for row in data]


def moment(value: Any) -> datetime:
    """A timestamp of a result: seconds since 1970 in a text, and for TIMESTAMP_TZ an offset, which changes nothing."""
    found = _MOMENT.fullmatch(text(value))
    if found is None:
        raise UnreadableError
    return unix(float(found[1]))


def _handle(document: Mapping[str, Any]) -> str:
    return f"{STATEMENTS}/{segment(text(document.get('statementHandle')))}"
