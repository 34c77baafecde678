"""A service account's key at Google's token endpoint: the key file, what is signed with it, and a check by that.

Requests and answers are those of PyPI google-auth 2.63.0 (google/oauth2/service_account.py and _client.py). Google's
messages for a refused key are from its users: the issues that a row of docs/providers.md calls secondary.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from keyturn.json_object import json_object, plain_id, text
from keyturn.material import KeyMaterial
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.probe import Probe
from keyturn.providers.signed_token import rsa_key, signed_token
from keyturn.providers.token_login import no_login
from keyturn.providers.verdicts import Verdicts

ENDPOINT = "https://oauth2.googleapis.com/token"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME = timedelta(hours=1)  # the longest that Google allows
_NO_RIGHTS = "https://www.googleapis.com/auth/userinfo.email"  # what a token is asked for that is only a proof


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A service account's key. UnreadableError from `of` for what is no key file of RSA."""

    account: str
    id: str
    _key: RSAPrivateKey = field(repr=False)

    @classmethod
    def of(cls, material: KeyMaterial) -> KeyFile:
        found = json_object(material.reveal())
        key = rsa_key(text(found.get("private_key")))
        return cls(plain_id(found.get("client_email"), 300), plain_id(found.get("private_key_id")), key)

    def assertion(self, scope: str, now: datetime) -> str:
        """A JSON Web Token that says who asks. Its audience is Google's endpoint, wherever it is sent."""
        begun = int(now.timestamp())
        times = {"iat": begun, "exp": begun + int(_LIFETIME.total_seconds())}
        claims = {"iss": self.account, "scope": scope, "aud": ENDPOINT, **times}
        return signed_token(self._key, claims, kid=self.id)


def key_file(project: str, id: str, **more: str) -> str:
    """The text of a key file, in the order and without the blanks that Google's have when they are put on one line."""
    return json.dumps(
        {"type": "service_account", "project_id": project, "private_key_id": id, **more}, separators=(",", ":")
    )


def endpoint(address: str, timeout: timedelta, remedy: str) -> tuple[AdminApi, str]:
    """Where a token is given for a signed assertion, and the path of that. The address is a setting: a key file's own is not
    trusted."""
    parts = urlsplit(address)
    return AdminApi("Google", f"{parts.scheme}://{parts.netloc}", no_login, timeout, remedy), parts.path or "/"


def grant(key: KeyFile, scope: str, now: datetime) -> Mapping[str, str]:
    """The form by which a token is asked for."""
    return {"grant_type": _GRANT, "assertion": key.assertion(scope, now)}


class TokenProbe(Probe):
    """Tries a key by asking for a token with it, which costs nothing. That token may do nothing, and is dropped."""

    def __init__(
        self, api: AdminApi, path: str, verdicts: Verdicts, stranger: Callable[[], str], now: Callable[[], datetime]
    ) -> None:
        def sent(material: KeyMaterial) -> Mapping[str, Any]:
            return {"data": dict(grant(KeyFile.of(material), _NO_RIGHTS, now()))}

        words = "what was to be tried is not a key file of a service account"
        super().__init__(api, "POST", path, lambda _: {}, verdicts, stranger, sent, words)
