"""Whether a value that a store holds is the one that a digest was computed of."""

from __future__ import annotations

import hashlib
import hmac

from keyturn.incidents.leak import Digest, Digests
from keyturn.material import KeyMaterial

# GitGuardian's documentation says "a 256-bit Scrypt hash" (docs.gitguardian.com, endpoint-protection, data handling). Its
# parameters and its salt are recalled, of GitGuardian's command ggshield: so it is compared only where `hashes: true`.
_HMSL = {"salt": b"GitGuardian", "n": 2048, "r": 8, "p": 1, "dklen": 32}


def is_of(digest: Digest, material: KeyMaterial) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(digest.text, _computed(digest.kind, material))


def _computed(kind: Digests, material: KeyMaterial) -> str:
    if kind is Digests.FINGERPRINT:
        return material.fingerprint()
    text = material.reveal().encode()
    if kind is Digests.SHA256:
        return hashlib.sha256(text).hexdigest()
    return hashlib.scrypt(text, **_HMSL).hex()  # type: ignore[arg-type]  # a table of keywords of several types
