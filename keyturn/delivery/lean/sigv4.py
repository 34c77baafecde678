"""AWS's Signature Version 4 of a POST to `/`: what the SDK takes a hundred milliseconds to import for.

After AWS's page "Create a signed AWS API request"; a test holds it against botocore's SigV4Auth over many inputs.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256


def signed(
    headers: Mapping[str, str],
    body: bytes,
    *,
    region: str,
    service: str,
    key_id: str,
    secret: str,
    token: str | None,
    at: str,
) -> dict[str, str]:
    """The headers, and those that sign them. They must hold `Host`. `at`: now in UTC, as 20261124T165500Z."""
    extra = {"X-Amz-Date": at, **({"X-Amz-Security-Token": token} if token else {})}
    sent = {**headers, **extra}
    canonical = sorted((name.lower(), " ".join(value.split())) for name, value in sent.items())
    names = ";".join(name for name, _ in canonical)
    lines = "".join(f"{name}:{value}\n" for name, value in canonical)
    request = f"POST\n/\n\n{lines}\n{names}\n{sha256(body).hexdigest()}"
    scope = f"{at[:8]}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    sent["Authorization"] = f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return sent
