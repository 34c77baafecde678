"""What versions say, remembered by this process: AWS is asked for each of them once.

What a version says never changes (API reference, PutSecretValue: the value of a version is not modified, a token with
another value is refused). So what was read once needs no second look: unlike a label, which is never remembered. A version
may be empty at first, and a secret may be deleted and made again under its name: so nothing is remembered of an empty one,
and a secret is known by its ARN, which ends in characters that AWS chooses anew.
"""

from __future__ import annotations

import base64
import time
from collections import OrderedDict

from keyturn.material import KeyMaterial

MOST = 64  # versions: a bundle of eighteen fields needs one for each, and three
FRESH = 60.0  # seconds; KMS takes minutes until a change of a key's state is felt everywhere


class Remembered:
    """Texts of versions, the least used of them forgotten first. Kept as KeyMaterial, which nothing prints."""

    def __init__(self) -> None:
        self._texts: OrderedDict[tuple[str, str], KeyMaterial] = OrderedDict()
        self._read_at: dict[tuple[str, str], float] = {}

    def keep(self, arn: str, version_id: str, text: str, *, read: bool) -> None:
        """`read`: AWS has given it, and so was able to decrypt it."""
        if not arn or not text:
            return
        at = (arn, version_id)
        # In base64, since a document has line ends, which no key has.
        self._texts[at] = KeyMaterial(base64.b64encode(text.encode()).decode())
        if read:
            self._read_at[at] = time.monotonic()
        while len(self._texts) > MOST:
            oldest, _ = self._texts.popitem(last=False)
            self._read_at.pop(oldest, None)

    def text(self, arn: str, version_id: str) -> str | None:
        found = self._texts.get((arn, version_id))
        if found is None:
            return None
        self._texts.move_to_end((arn, version_id))
        return base64.b64decode(found.reveal()).decode()

    def was_just_read(self, arn: str, version_id: str) -> bool:
        """Whether AWS has given this text within the last minute."""
        read_at = self._read_at.get((arn, version_id))
        return read_at is not None and time.monotonic() - read_at < FRESH

    def forget(self) -> None:
        self._texts.clear()
        self._read_at.clear()
