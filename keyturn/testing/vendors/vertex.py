"""Service-account keys of Google's IAM API v1, and Google's token endpoint. Control: see keyturn.testing.vendors.service.

One service account of one project. What no description says: a full account (firebase/firebase-tools #6192), a dead key at
the token endpoint (setup-gcloud #76), a certificate's end as the key's (cuberoot31.com). Recalled: a disabled key is
answered as a deleted one, and certificates are given back as they came.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from starlette.responses import JSONResponse, Response

from keyturn.material import KeyMaterial
from keyturn.testing.vendors.google_errors import FAILED_PRECONDITION, google_error
from keyturn.testing.vendors.google_permissions import tested
from keyturn.testing.vendors.held_by import By, HeldBy
from keyturn.testing.vendors.service import Call, Key, RefusedError, Route, Simulator, stamp

PROJECT = "suite-project"
ACCOUNT = f"litellm@{PROJECT}.iam.gserviceaccount.com"
_KEYS = f"/v1/projects/{PROJECT}/serviceAccounts/{ACCOUNT}/keys"
_TESTED = f"/v1/projects/{PROJECT}/serviceAccounts/{ACCOUNT}:testIamPermissions"
_AUDIENCE = "https://oauth2.googleapis.com/token"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ALT = ("alt",)  # the client library says `alt=json` each time
_MOST_KEYS = 10
_NEVER = "9999-12-31T23:59:59Z"
_PAIRS: list[rsa.RSAPrivateKey] = []  # made once for all simulators: each takes a while


class VertexSimulator(Simulator):
    """See the module's text. `administers`: tokens of the service account may manage keys, as the management credential."""

    HELD_BY: ClassVar[HeldBy] = HeldBy(
        By.SDK,
        "google-api-python-client 2.202.0, google-auth 2.63.0, and Google's discovery document",
        "tests/providers/test_vertex.py",
    )
    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("list_keys", "admin", "GET", _KEYS, query=(*_ALT, "keyTypes")),
        Route("create_key", "admin", "POST", _KEYS, query=_ALT, body=("privateKeyType", "keyAlgorithm")),
        Route("upload_key", "admin", "POST", f"{_KEYS}:upload", query=_ALT, body=("publicKeyData",)),
        Route("get_key", "admin", "GET", f"{_KEYS}/{{id}}", query=(*_ALT, "publicKeyType")),
        Route("delete_key", "admin", "DELETE", f"{_KEYS}/{{id}}", query=_ALT),
        Route("disable_key", "admin", "POST", f"{_KEYS}/{{id}}:disable", query=_ALT),
        Route("enable_key", "admin", "POST", f"{_KEYS}/{{id}}:enable", query=_ALT),
        Route("tell_permissions", "admin", "POST", _TESTED, query=_ALT, body=("permissions",), reads=True),
        Route("give_token", "key", "POST", "/token", body=("grant_type", "assertion")),
    )

    GIVES: ClassVar[Mapping[str, frozenset[str]]] = {
        **Simulator.GIVES,
        "create": frozenset({"create_key", "upload_key"}),
    }

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.administers, self.tokens = False, dict[str, float]()
        self._taken = 0

    def text(self, literal: str) -> str:
        """A key file as Google makes them, but on one line."""
        pem = self._pair().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return json.dumps(
            {
                "type": "service_account",
                "project_id": PROJECT,
                "private_key_id": secrets.token_hex(20),
                "private_key": pem,
                "client_email": ACCOUNT,
                "client_id": f"{literal}100000000000000000000",
                "auth_uri": "https://accounts.google.com/o/oauth2/auth",
                "token_uri": _AUDIENCE,
                "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
                "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{ACCOUNT}",
                "universe_domain": "googleapis.com",
            },
            separators=(",", ":"),
        )

    def _pair(self) -> rsa.RSAPrivateKey:
        self._taken += 1
        if self._taken > len(_PAIRS):
            _PAIRS.append(rsa.generate_private_key(public_exponent=65537, key_size=2048))
        return _PAIRS[self._taken - 1]

    def add_key(self, name: str, **given: Any) -> Any:
        """A key that Google makes has no name."""
        text = given.pop("text", None) or self.text(self.behaviour.key_literal)
        made = json.loads(text)
        public = load_pem_private_key(made["private_key"].encode(), None).public_key()
        return super().add_key("", **{**given, "text": text, "id": made["private_key_id"], "public": public, "data": ""})

    def learn(self, material: KeyMaterial) -> None:
        """Whose text this is, of those that were uploaded: only who made a key knows the whole of it."""
        made = json.loads(material.reveal())
        for old, key in list(self.keys.items()):
            if key.id == made["private_key_id"]:
                self.keys = {material.fingerprint() if each == old else each: kept for each, kept in self.keys.items()}
                key.fingerprint = material.fingerprint()

    def error(self, status: int, message: str, code: str = "") -> Response:
        return google_error(status, message, code)

    def rejected(self, group: str) -> Response:
        return google_error(401, "Request had invalid authentication credentials.")

    def new_id(self) -> str:
        return secrets.token_hex(20)

    def _may(self, route: Route, caller: KeyMaterial | None, key: Key | None) -> bool:
        """A key signs an assertion, and is not sent: `give_token` looks at that itself."""
        given = self.tokens.get(caller.fingerprint(), 0) if caller is not None and self.administers else 0
        return route.group == "key" or given > self.clock() or super()._may(route, caller, key)

    async def list_keys(self, call: Call) -> Mapping[str, Any]:
        if call.query.get("keyTypes", "USER_MANAGED") != "USER_MANAGED":
            raise RefusedError(400, "this simulator has no keys of other types")
        keys = [self._shown(key) for key in reversed(self.live())]
        return {"keys": keys} if keys else {}

    async def create_key(self, call: Call) -> Mapping[str, Any]:
        self._has_room()
        key, material = self.add_key("")
        file = json.dumps(json.loads(material.reveal()), indent=2) + "\n"
        data = base64.b64encode(file.encode()).decode()
        return {**self._shown(key), "privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE", "privateKeyData": data}

    async def upload_key(self, call: Call) -> Mapping[str, Any]:
        self._has_room()
        try:
            pem = base64.b64decode(call.body["publicKeyData"], validate=True)
            found = x509.load_pem_x509_certificate(pem)
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise RefusedError(400, "publicKeyData is no certificate") from None
        public, begin, end = found.public_key(), found.not_valid_before_utc, found.not_valid_after_utc
        if not isinstance(public, rsa.RSAPublicKey) or found.version is not x509.Version.v3:
            raise RefusedError(400, "not an RSA key in an X.509 v3 certificate")
        key, _ = super().add_key(
            found.subject.rfc4514_string().removeprefix("CN="),
            text=f"unknown-{secrets.token_hex(16)}",
            id=self.new_id(),
            expires_at=None if end.year == 9999 else end.timestamp(),
            public=public,
            data=base64.b64encode(pem).decode(),
        )
        key.created_at = begin.timestamp()
        return self._shown(key)

    def _has_room(self) -> None:
        if len(self.live()) >= _MOST_KEYS:
            raise RefusedError(400, "Precondition check failed.", FAILED_PRECONDITION)

    async def get_key(self, call: Call) -> Mapping[str, Any]:
        key, kind = self.by_id(call.path["id"]), call.query.get("publicKeyType", "TYPE_NONE")
        shown = dict(self._shown(key))
        if kind == "TYPE_RAW_PUBLIC_KEY":
            pem = key.more["public"].public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            shown["publicKeyData"] = base64.b64encode(pem).decode()
        elif kind == "TYPE_X509_PEM_FILE" and key.more["data"]:
            shown["publicKeyData"] = key.more["data"]
        elif kind != "TYPE_NONE":
            raise RefusedError(400, "this simulator has no certificates for keys that Google made")
        return shown

    async def delete_key(self, call: Call) -> Mapping[str, Any]:
        self.delete(self.by_id(call.path["id"]))
        return {}

    async def disable_key(self, call: Call) -> Mapping[str, Any]:
        self.by_id(call.path["id"]).disabled = True
        return {}

    async def enable_key(self, call: Call) -> Mapping[str, Any]:
        self.by_id(call.path["id"]).disabled = False
        return {}

    async def tell_permissions(self, call: Call) -> Mapping[str, Any]:
        return tested(call, self.lacks, "iam.serviceAccountKeys")

    async def give_token(self, call: Call) -> Response:
        """See google-auth: what an assertion has to say, and what a refusal looks like."""
        now = self.clock()
        try:
            if call.body["grant_type"] != _GRANT:
                return oauth_error("unsupported_grant_type", "Invalid grant_type")
            signed, _, signature = call.body["assertion"].rpartition(".")
            header, claims = (json.loads(_bytes(part)) for part in signed.split("."))
            told = (header["alg"], claims["iss"], claims["aud"], bool(claims["scope"]))
        except (KeyError, ValueError):
            return oauth_error("invalid_request", "Bad Request")
        if not claims["iat"] - 300 <= now <= claims["exp"] <= claims["iat"] + 3600:
            words = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
            return oauth_error("invalid_grant", words)
        key = next((each for each in self.live() if each.id == header.get("kid") and each.accepted(now)), None)
        if not self.anyone:
            if told != ("RS256", ACCOUNT, _AUDIENCE, True):
                return oauth_error("invalid_grant", "Invalid grant: account not found")
            if key is None or not _signed(key, signed, signature):
                return oauth_error("invalid_grant", "Invalid JWT Signature.")
        if key is not None:
            key.uses.append(now)
        token = f"ya29.c.{secrets.token_hex(48)}"
        self.tokens[KeyMaterial(token).fingerprint()] = now + 3599
        return JSONResponse({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _shown(self, key: Key) -> Mapping[str, Any]:
        disabled = {"disabled": True, "disableReason": "SERVICE_ACCOUNT_KEY_DISABLE_REASON_USER_INITIATED"}
        return {
            "name": f"projects/{PROJECT}/serviceAccounts/{ACCOUNT}/keys/{key.id}",
            "validAfterTime": stamp(key.created_at),
            "validBeforeTime": stamp(key.expires_at) or _NEVER,
            "keyAlgorithm": "KEY_ALG_RSA_2048",
            "keyOrigin": "USER_PROVIDED" if key.more["data"] else "GOOGLE_PROVIDED",
            "keyType": "USER_MANAGED",
            **(disabled if key.disabled else {}),
        }


def oauth_error(error: str, description: str, status: int = 400) -> Response:
    """As the token endpoint refuses: RFC 6749, 5.2."""
    return JSONResponse({"error": error, "error_description": description}, status)


def _bytes(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _signed(key: Key, signed: str, signature: str) -> bool:
    try:
        key.more["public"].verify(_bytes(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True
