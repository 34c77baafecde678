"""A pair of keys for a service account, and the certificate by which Google is told its public one.

An RSA key in an X.509 v3 certificate: Google's discovery document of iam v1, UploadServiceAccountKeyRequest.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The end of what does not end: RFC 5280, 4.1.2.5; what Google says of its own keys, too."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Made here; the private key leaves in a key file alone."""

    _key: rsa.RSAPrivateKey = field(repr=False)

    @classmethod
    def new(cls) -> KeyPair:
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=2048))

    def pem(self) -> str:
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def certificate(self, label: str, begin: datetime, end: datetime) -> bytes:
        """Signed by itself, in PEM, with nothing in it but the label, the times and the key."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, label)])
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)
        return made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


def label_in(data: str) -> str:
    """What a certificate calls itself, given as the API gives it: base64 of PEM. "" where nothing can be read in it."""
    try:
        found = x509.load_pem_x509_certificate(base64.b64decode(data, validate=True))
        names = [str(each.value) for each in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except ValueError:
        return ""
    return names[0] if len(names) == 1 else ""
