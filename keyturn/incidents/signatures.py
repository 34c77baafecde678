"""Who sent a request: bearer tokens and signatures, compared in constant time.

keyturn's own signature: `X-Keyturn-Signature: v1=HEX`, an HMAC-SHA256 with the shared secret, of these joined by line
feeds: `v1`, the timestamp (Unix seconds, `X-Keyturn-Timestamp`), the nonce (`X-Keyturn-Nonce`, 16 to 64 letters and digits),
the method, the path, the body.

GitHub's (read: docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries): `X-Hub-Signature-256: sha256=HEX`, of
the body. It has no time in it.

GitGuardian's (read: docs.gitguardian.com, custom webhook): `Gitguardian-Signature: sha256=HEX` of the body, keyed with the
header `Timestamp` and then the signature token. The form of that time is not documented: Unix seconds and ISO 8601 are read.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from keyturn.material import KeyMaterial

SHORTEST = 20  # characters of a token or a signing secret
_UNIX = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that holds. `at`: when it was made, None where it does not say. `once`: what may not come a second time,
    "" where it may."""

    at: datetime | None
    once: str


def is_long_enough(secret: KeyMaterial) -> bool:
    return len(secret.reveal()) >= SHORTEST


def bearer(token: KeyMaterial) -> str:
    """The Authorization header that shows this token."""
    return f"Bearer {token.reveal()}"


def is_bearer(header: str, token: KeyMaterial) -> bool:
    """Whether an Authorization header holds this token. Takes the same time for every header."""
    return _same(header, bearer(token))


def own(headers: Mapping[str, str], method: str, path: str, body: bytes, secret: KeyMaterial) -> Signed | None:
    """keyturn's own; None where it does not hold."""
    stamp, nonce = headers.get("x-keyturn-timestamp", ""), headers.get("x-keyturn-nonce", "")
    signed = "\n".join(("v1", stamp, nonce, method, path, "")).encode(errors="replace") + body
    holds = _same(headers.get("x-keyturn-signature", ""), f"v1={_hmac(secret.reveal().encode(), signed)}")
    at = _time(stamp)
    return Signed(at, nonce) if holds and at is not None and _NONCE.fullmatch(nonce) else None


def github(headers: Mapping[str, str], body: bytes, secret: KeyMaterial) -> Signed | None:
    """GitHub's. The same body may come again, for GitHub redelivers: it is the same alert, and so the same run."""
    holds = _same(headers.get("x-hub-signature-256", ""), f"sha256={_hmac(secret.reveal().encode(), body)}")
    return Signed(None, "") if holds else None


def gitguardian(headers: Mapping[str, str], body: bytes, secret: KeyMaterial) -> Signed | None:
    """GitGuardian's."""
    stamp, given = headers.get("timestamp", ""), headers.get("gitguardian-signature", "")
    wanted = _hmac((stamp + secret.reveal()).encode(errors="replace"), body)
    at = _time(stamp)
    return Signed(at, wanted) if _same(given, f"sha256={wanted}") and at is not None else None


def _hmac(key: bytes, body: bytes) -> str:
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def _same(given: str, wanted: str) -> bool:
    digests = (hashlib.sha256(text.encode(errors="replace")).digest() for text in (given, wanted))
    return hmac.compare_digest(*digests)


def _time(text: str) -> datetime | None:
    try:
        if _UNIX.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return found.astimezone(UTC) if found.tzinfo else None
