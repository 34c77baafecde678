"""A JSON Web Token that we sign ourselves, with an RSA key of ours: RS256, RFC 7519 and 7518."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial

_ARMOUR = re.compile(r"-----(?:BEGIN|END) [A-Z ]{0,30}-----|\\n|\s")  # what PEM has around its base64


def rsa_key(pem: str) -> RSAPrivateKey:
    """The private key in a PEM text. UnreadableError for one that is none, is of another kind, or has a passphrase."""
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # its text is not ours to hand on
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise UnreadableError
    return key


def rsa_key_of(material: KeyMaterial) -> RSAPrivateKey:
    """The same of a secret, which is one line: the base64 of PKCS#8 in DER, or a PEM that was put on one line."""
    try:
        key = load_der_private_key(base64.b64decode(_ARMOUR.sub("", material.reveal()), validate=True), None)
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise UnreadableError
    return key


def signed_token(key: RSAPrivateKey, claims: Mapping[str, Any], **header: str) -> str:
    """`header`: what stands in its header beside the algorithm."""
    return signed_by(lambda text: key.sign(text, PKCS1v15(), hashes.SHA256()), claims, alg="RS256", **header)


def signed_by(sign: Callable[[bytes], bytes], claims: Mapping[str, Any], **header: str) -> str:
    """The same with an algorithm that the header has to name."""
    signed = _packed({"typ": "JWT", **header}) + b"." + _packed(claims)
    return b".".join((signed, _base64(sign(signed)))).decode()


def _packed(value: Mapping[str, Any]) -> bytes:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")
