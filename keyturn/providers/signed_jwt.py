"""A JSON Web Token that is signed here, in compact form (RFC 7515): proof of who asks a token endpoint."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any


def signed_jwt(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """`sign` makes the signature of what is to be signed, by the algorithm that the header names."""
    text = b".".join((_packed(header), _packed(claims)))
    return b".".join((text, _base64(sign(text)))).decode()


def _base64(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def _packed(value: Mapping[str, Any]) -> bytes:
    return _base64(json.dumps(value, separators=(",", ":")).encode())
