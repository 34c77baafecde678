"""Snowflake's SQL API on loopback, with one user's programmatic access tokens. Control: see keyturn.testing.vendors.service.

A login is a JSON Web Token of a key pair, whose signature is checked; statements are taken apart as Snowflake reads them: a
quoted name ends at its quotation mark, and not at a mark that is doubled.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyturn.material import KeyMaterial
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator, bearer_of

ACCOUNT, LOGIN, USER, ROLE, RESTRICTION = "MYORG-MYACCOUNT", "KEYTURN", "LITELLM", "TOKEN_KEEPER", "CORTEX_USER"
MOST = 15
_PATH = "/api/v2/statements"
_DAY = 86400
_TAKEN = ("statement", "timeout", "role", "database", "schema", "warehouse", "bindings", "parameters")
_NAME, _TEXT = r'("(?:[^"]|"")+")', r"('(?:[^'\\]|''|\\.)*')"
_STATEMENTS: Mapping[str, str] = {
    "list_keys": rf"SHOW USER PROGRAMMATIC ACCESS TOKENS FOR USER {_NAME}",
    "create_key": rf"ALTER USER {_NAME} ADD PROGRAMMATIC ACCESS TOKEN {_NAME}"
    rf"(?: ROLE_RESTRICTION = {_TEXT})?(?: DAYS_TO_EXPIRY = ([0-9]+))?",
    "rotate_key": rf"ALTER USER {_NAME} ROTATE PROGRAMMATIC ACCESS TOKEN {_NAME}"
    r"(?: EXPIRE_ROTATED_TOKEN_AFTER_HOURS = ([0-9]+))?",
    "delete_key": rf"ALTER USER {_NAME} REMOVE PROGRAMMATIC ACCESS TOKEN {_NAME}",
    "change_key": rf"ALTER USER {_NAME} MODIFY PROGRAMMATIC ACCESS TOKEN {_NAME} SET DISABLED = (TRUE|FALSE)",
    "show_parameters": rf"SHOW PARAMETERS LIKE 'NETWORK_POLICY' FOR USER {_NAME}",
}
_COLUMNS = ("name", "user_name", "role_restriction", "expires_at", "status", "comment", "created_on", "created_by")
_NEWER_COLUMNS = ("mins_to_bypass_network_policy_requirement", "rotated_to")
_TIMES = ("expires_at", "created_on")


class SnowflakeSimulator(Simulator):
    """`unfinished`: so many answers are a 202 before a statement is done. `roles`, `network_policy`: of the user."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.PAGE,
        "docs.snowflake.com, SQL API reference and SHOW USER PROGRAMMATIC ACCESS TOKENS",
        "tests/providers/test_snowflake.py::test_requests_and_answers_have_the_form_of_the_page",
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("unknown_statement", "admin", "POST", _PATH, body=_TAKEN),
        *(
            Route(operation, "admin", "POST", _PATH, body=_TAKEN, reads=operation in ("list_keys", "show_parameters"))
            for operation in _STATEMENTS
        ),
        Route("whose", "key", "POST", _PATH, body=_TAKEN),
        Route("statement_status", "admin", "GET", f"{_PATH}/{{handle}}", query=("partition", "requestId")),
    )

    GIVES: ClassVar[Mapping[str, frozenset[str]]] = {**Simulator.GIVES, "disable": frozenset({"change_key"})}

    def __init__(self, admin: KeyMaterial, clock: Callable[[], float] = time.time) -> None:
        super().__init__(admin, clock)
        self._admin = admin
        der = base64.b64decode(admin.reveal())
        self._key: Any = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
        self.unfinished = 0
        self.roles = {RESTRICTION}
        self.network_policy = "PROXIES_ONLY"
        self._results: dict[str, Mapping[str, Any]] = {}
        self._waiting: dict[str, int] = {}

    # The wire -------------------------------------------------------------------------------------------------------

    def text(self, literal: str) -> str:
        return f"pat/{literal}{secrets.token_urlsafe(48)}"

    def chosen(self, request: Request, routes: Sequence[Route]) -> Route:
        by_name = {route.operation: route for route in routes}
        if "statement_status" in by_name:
            return by_name["statement_status"]
        if request.headers.get("x-snowflake-authorization-token-type") == "PROGRAMMATIC_ACCESS_TOKEN":
            return by_name["whose"]
        statement = _statement(request)
        fits = [name for name, form in _STATEMENTS.items() if re.fullmatch(form, statement)]
        return by_name[fits[0] if fits else "unknown_statement"]

    def admin_of(self, request: Request) -> str:
        """The private key, for a token that is signed with it and says who asks; "" otherwise."""
        if request.headers.get("x-snowflake-authorization-token-type") != "KEYPAIR_JWT":
            return ""
        told = _claims(bearer_of(request), self._key)
        name, now = f"{ACCOUNT}.{LOGIN}", self.clock()
        begun, ends = told.get("iat", 0), told.get("exp", 0)
        right = told.get("sub") == name and told.get("iss") == f"{name}.{_fingerprint(self._key)}"
        return self._admin.reveal() if right and begun <= now < ends <= begun + 3600 else ""

    def key_of(self, request: Request) -> str:
        found = bearer_of(request)
        return f"pat/{found}" if found else ""

    def error(self, status: int, message: str, code: str = "") -> Response:
        told: dict[str, Any] = {"code": code or "390000", "message": message}
        if status == 422:
            told |= {"sqlState": "02000", "statementHandle": str(uuid.uuid4()), "createdOn": int(self.clock() * 1000)}
        return JSONResponse(told, status)

    def rejected(self, group: str) -> Response:
        if group == "admin":
            return self.error(401, "JWT token is invalid.", "390144")
        return self.error(401, "Programmatic access token is invalid.", "394400")

    def add_key(self, name: str, **more: Any) -> tuple[Key, KeyMaterial]:
        """As the simulators do; a token that nobody set an end for ends after 15 days."""
        more["expires_at"] = more.get("expires_at") or self.clock() + 15 * _DAY
        return super().add_key(name, **more)

    # Statements -----------------------------------------------------------------------------------------------------

    async def unknown_statement(self, call: Call) -> Response:
        raise RefusedError(422, "SQL compilation error: syntax error", "001003")

    async def list_keys(self, call: Call) -> Response:
        self._parts(call, "list_keys")
        columns = {name: "TIMESTAMP_LTZ" if name in _TIMES else "TEXT" for name in (*_COLUMNS, *_NEWER_COLUMNS)}
        return self._result(columns, [self._row(key) for key in self.live()])

    async def create_key(self, call: Call) -> Response:
        _, name, role, days = self._parts(call, "create_key")
        if role not in self.roles:
            raise RefusedError(422, "a role of the user is required", "099205")
        if any(key.name == name for key in self.live()):
            raise RefusedError(422, "a token of that name is there", "002002")
        if sum(key.expires_at is None or key.expires_at > self.clock() for key in self.live()) >= MOST:
            raise RefusedError(422, "too many tokens", "099206")
        if days is not None and not 1 <= int(days) <= 365:
            raise RefusedError(422, "DAYS_TO_EXPIRY is out of range", "099207")
        until = None if days is None else self.clock() + int(days) * _DAY
        _, material = self.add_key(name, id=name, expires_at=until, role_restriction=role)
        secret = material.reveal().removeprefix("pat/")
        return self._result({"token_name": "TEXT", "token_secret": "TEXT"}, [[name, secret]])

    async def rotate_key(self, call: Call) -> Response:
        _, name, hours = self._parts(call, "rotate_key")
        key, lives = self._named(name), int(hours if hours is not None else 24) * 3600
        if key.expires_at is None or self.clock() + lives > key.expires_at:
            raise RefusedError(422, "EXPIRE_ROTATED_TOKEN_AFTER_HOURS is out of range", "099208")
        days = (key.expires_at - key.created_at) / _DAY
        key.id = key.name = f"{name}_ROTATED_{next(self._numbers)}"
        key.expires_at, key.more["rotated_to"] = self.clock() + lives, name
        _, material = self.add_key(name, id=name, expires_at=self.clock() + days * _DAY, **_role(key))
        secret = material.reveal().removeprefix("pat/")
        columns = {"token_name": "TEXT", "token_secret": "TEXT", "rotated_token_name": "TEXT"}
        return self._result(columns, [[name, secret, key.name]])

    async def delete_key(self, call: Call) -> Response:
        self.delete(self._named(self._parts(call, "delete_key")[1]))
        return self._executed()

    async def change_key(self, call: Call) -> Response:
        _, name, disabled = self._parts(call, "change_key")
        self._named(name).disabled = disabled == "TRUE"
        return self._executed()

    async def show_parameters(self, call: Call) -> Response:
        self._parts(call, "show_parameters")
        columns = dict.fromkeys(("key", "value", "default", "level", "description", "type"), "TEXT")
        return self._result(columns, [["NETWORK_POLICY", self.network_policy, "", "USER", "", "STRING"]])

    async def whose(self, call: Call) -> Response:
        if not re.fullmatch(r"SELECT [A-Z_]+\(\)", call.body.get("statement", "")):
            raise RefusedError(422, "SQL compilation error: syntax error", "001003")
        return self._result({"CURRENT_USER()": "TEXT"}, [[USER]])

    async def statement_status(self, call: Call) -> Response:
        handle = call.path["handle"]
        if handle not in self._results:
            raise RefusedError(404, "no such statement", "390142")
        return self._answer(handle)

    # Results --------------------------------------------------------------------------------------------------------

    def _parts(self, call: Call, operation: str) -> list[Any]:
        """The names and texts of the statement, as they are meant."""
        if call.body.get("role") not in (None, ROLE):
            raise RefusedError(422, "insufficient privileges", "003001")
        found = re.fullmatch(_STATEMENTS[operation], call.body["statement"])
        parts = [_meant(each) for each in found.groups()] if found else [None]
        if parts[0] != USER:
            raise RefusedError(422, "the user does not exist or not authorized", "002003")
        return parts

    def _named(self, name: str) -> Key:
        for key in self.live():
            if key.name == name:
                return key
        raise RefusedError(422, "Programmatic access token not found", "099204")

    def _row(self, key: Key) -> list[str | None]:
        expired = key.expires_at is not None and key.expires_at <= self.clock()
        status = "EXPIRED" if expired else "DISABLED" if key.disabled else "ACTIVE"
        role = key.more.get("role_restriction", RESTRICTION)
        times = f"{key.expires_at or 0:.9f}", f"{key.created_at:.9f}"
        return [key.name, USER, role, times[0], status, None, times[1], LOGIN, None, key.more.get("rotated_to")]

    def _executed(self) -> Response:
        return self._result({"status": "TEXT"}, [["Statement executed successfully."]])

    def _result(self, columns: Mapping[str, str], rows: Sequence[Sequence[str | None]]) -> Response:
        handle = str(uuid.uuid4())
        about = [
            {"name": name, "type": kind, "length": 0, "precision": 0, "scale": 0, "nullable": True}
            for name, kind in columns.items()
        ]
        parts = [{"rowCount": len(rows), "uncompressedSize": 100}]
        meta = {"numRows": len(rows), "format": "jsonv2", "rowType": about, "partitionInfo": parts}
        self._results[handle] = {"resultSetMetaData": meta, "data": rows}
        self._waiting[handle] = self.unfinished
        return self._answer(handle)

    def _answer(self, handle: str) -> Response:
        """The result, or that it is not there yet."""
        told = {"code": "090001", "sqlState": "00000", "message": "successfully executed", "statementHandle": handle}
        told |= {"statementStatusUrl": f"{_PATH}/{handle}"}
        if self._waiting[handle]:
            self._waiting[handle] -= 1
            return JSONResponse({**told, "code": "333334"}, 202)
        return JSONResponse({**told, "createdOn": int(self.clock() * 1000), **self._results[handle]})


def _role(key: Key) -> Mapping[str, Any]:
    return {name: value for name, value in key.more.items() if name == "role_restriction"}


def _statement(request: Request) -> str:
    try:
        found = json.loads(request.state.body).get("statement")
    except (ValueError, AttributeError):
        return ""
    return found if isinstance(found, str) else ""


def _meant(part: str | None) -> str | None:
    """What a quoted name or a text stands for; anything else stands for itself."""
    if part and part[0] == '"':
        return part[1:-1].replace('""', '"')
    if part and part[0] == "'":
        return re.sub(r"''|\\(.)", lambda found: found[1] or "'", part[1:-1])
    return part


def _claims(token: str, key: RSAPrivateKey) -> dict[str, Any]:
    """What a token says that this key has signed; nothing otherwise."""
    signed, _, signature = token.rpartition(".")
    try:
        key.public_key().verify(_bytes(signature), signed.encode(), PKCS1v15(), hashes.SHA256())
        return dict(json.loads(_bytes(signed.partition(".")[2])))
    except (InvalidSignature, ValueError):
        return {}


def _fingerprint(key: Any) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return f"SHA256:{base64.b64encode(digest.finalize()).decode()}"


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
