"""Snowflake: the suite, and the form of requests and answers on Snowflake's pages. No client of it speaks the SQL API."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from itertools import cycle
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keyturn.providers.snowflake import Snowflake
from keyturn.testing.provider_suite import ProviderSuite
from keyturn.testing.vendors.snowflake import ACCOUNT, LOGIN, RESTRICTION, ROLE, USER, SnowflakeSimulator

_PAIRS = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3)]
_NEXT = cycle(
    base64.b64encode(pair.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).decode() for pair in _PAIRS
)


class TestSnowflake(ProviderSuite):
    PROVIDER, SIMULATOR = Snowflake, SnowflakeSimulator

    def settings(self, url: str) -> Mapping[str, Any]:
        login = {"account": ACCOUNT, "login_user": LOGIN, "private_key": "env:KEYTURN_SUITE_ADMIN", "role": ROLE}
        return {**login, "user": USER, "role_restriction": RESTRICTION, "base_url": url}

    def admin(self) -> str:
        return next(_NEXT)
