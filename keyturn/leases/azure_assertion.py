"""Proof that an application has the private key of its certificate: a JSON Web Token for Microsoft Entra.

Header and claims are those of PyPI msal 1.39.0 (application.py and oauth2cli/assertion.py): PS256, and the certificate named
by its SHA-256 thumbprint.
"""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from keyturn.errors import MisconfiguredError
from keyturn.material import KeyMaterial
from keyturn.providers.signed_token import signed_by

_LIVES = timedelta(minutes=10)
_LARGEST = 65536


def assertion(
    path: Path, client_id: str, endpoint: str, now: datetime, chance: Callable[[], uuid.UUID] = uuid.uuid4
) -> KeyMaterial:
    """Signed with the RSA key of this PEM file, which holds its certificate too. `endpoint`: where tokens are given.

    Read anew each time, so that a certificate that was renewed counts at once. MisconfiguredError: it is no such file.
    """
    key, thumbprint = _read(path)
    begun = int(now.timestamp())
    times = {"exp": begun + int(_LIVES.total_seconds()), "iat": begun}
    claims = {"aud": endpoint, "iss": client_id, "sub": client_id, **times, "jti": str(chance())}
    header = {"alg": "PS256", "x5t#S256": thumbprint}
    salted = PSS(MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
    return KeyMaterial(signed_by(lambda text: key.sign(text, salted, hashes.SHA256()), claims, **header))


def _read(path: Path) -> tuple[RSAPrivateKey, str]:
    failure, pem = "", b""
    try:
        with path.open("rb") as file:
            pem = file.read(_LARGEST)
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if failure:
        raise MisconfiguredError(f"{path} cannot be read: {failure}", remedy="name the application's certificate_file")
    key: object = None
    try:
        key = load_pem_private_key(pem, None)
        # With its padding, as that library sends it.
        thumbprint = urlsafe_b64encode(load_pem_x509_certificate(pem).fingerprint(hashes.SHA256())).decode()
    except (ValueError, TypeError, UnsupportedAlgorithm):  # its text is not ours to hand on
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise MisconfiguredError(
            f"{path} is not a PEM file with an RSA key, without a password, and its certificate",
            remedy="put both into one file, for its owner alone",
        )
    return key, thumbprint
