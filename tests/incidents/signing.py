"""Requests as each sender signs them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime


def _hex(key: str, *body: bytes) -> str:
    return hmac.new(key.encode(), b"".join(body), hashlib.sha256).hexdigest()


def own(secret: str, method: str, path: str, body: bytes, at: datetime, nonce: str = "") -> dict[str, str]:
    stamp, nonce = str(int(at.timestamp())), nonce or secrets.token_hex(16)
    signature = _hex(secret, f"v1\n{stamp}\n{nonce}\n{method}\n{path}\n".encode(), body)
    return {"X-Keyturn-Timestamp": stamp, "X-Keyturn-Nonce": nonce, "X-Keyturn-Signature": f"v1={signature}"}


def github(secret: str, body: bytes) -> dict[str, str]:
    return {"X-GitHub-Event": "secret_scanning_alert", "X-Hub-Signature-256": f"sha256={_hex(secret, body)}"}


def gitguardian(secret: str, body: bytes, at: datetime) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    return {"Timestamp": stamp, "Gitguardian-Signature": f"sha256={_hex(stamp + secret, body)}"}
