"""The last keys that a store told, kept encrypted in a file: for a start while the store cannot be reached.

Off unless it is asked for. It is a copy of keys outside of the stores, and it may be out of date: a key that was revoked
since is dead, whatever the cache says. So it is read only when a store is *unavailable*, never when it refuses or has
another answer; it says loudly how old it is; and beyond `max_age` it is refused.

The file: b"keyturn-cache-1\\n", 16 bytes of salt, 12 of nonce, then AES-256-GCM of a JSON object (credential ->
id, value, read: seconds since 1970). Its key is HKDF-SHA256 of the text that `--cache-key` refers to, which must be long
and random: nothing here slows down guessing. What the keys are for (the proxy, each credential's variable, and where in
the world its secret is) goes in as associated data, so that the file of another proxy or store cannot be read.
Who can put an older file of the same proxy in its place brings back older keys, of up to `max_age`.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyturn.delivery.become import write_private
from keyturn.durations import text
from keyturn.errors import MisconfiguredError
from keyturn.json_object import UnreadableError, inside, json_object, plain_id
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, VersionRef

log = logging.getLogger(__name__)

_MARK = b"keyturn-cache-1\n"
_SALT, _NONCE = 16, 12
_CONTEXT = b"keyturn/last-known/v1"
_LARGEST = 8 * 1024 * 1024
_SHORTEST_SECRET = 32  # characters
_AHEAD = timedelta(minutes=5)  # how much further the clock of the one that wrote it may have been


@dataclass(frozen=True, slots=True)
class Kept:
    """A key out of the cache, and when its store told it."""

    held: HeldKey
    read: datetime


class KeyCache:
    """One file. `bound_to`: what the keys are for, see the module's text. `now` is the wall clock; a test turns it.

    MisconfiguredError for a secret that is too short, and for a folder that is not there.
    """

    def __init__(
        self,
        path: Path,
        secret: KeyMaterial,
        bound_to: Iterable[str],
        max_age: timedelta = timedelta(hours=24),
        now: Callable[[], float] = time.time,
    ) -> None:
        if len(secret.reveal()) < _SHORTEST_SECRET:
            raise MisconfiguredError(
                f"the secret for the cache has fewer than {_SHORTEST_SECRET} characters",
                remedy="make a random one: openssl rand -hex 32",
            )
        if not path.parent.is_dir():
            raise MisconfiguredError("the folder of the cache is not there", remedy="make it, for its owner alone")
        self._path = path
        self._secret = secret
        self._bound_to = json.dumps(list(bound_to)).encode()
        self._max_age = max_age
        self._now = now

    def keep(self, keys: Mapping[str, HeldKey]) -> None:
        """Write these keys, as read now, beside those of other credentials that are there.

        A failure is logged, and no error: the program is better started without a cache than not at all.
        """
        known: dict[str, Kept] = {}
        with suppress(MisconfiguredError):  # none yet, or one that is of no use any more
            known = self._read()
        read = datetime.fromtimestamp(self._now(), UTC)
        try:
            self._write({**known, **{name: Kept(held, read) for name, held in keys.items()}})
        except OSError as error:
            log.warning("the cache cannot be written: %s", error.strerror or type(error).__name__)

    def find(self, credential: str) -> Kept:
        """The key that was read last. MisconfiguredError, in words that say why, where there is none that may be used."""
        kept = self._read().get(credential)
        if kept is None:
            raise MisconfiguredError(f"the cache has no key of {credential}", remedy="wait for the store")
        age = datetime.fromtimestamp(self._now(), UTC) - kept.read
        if age > self._max_age:
            raise MisconfiguredError(
                f"the cache's key of {credential} was read {text(age)} ago, which is longer than {text(self._max_age)}",
                remedy="wait for the store; `--cache-max-age` says how old a key may be",
            )
        if age < -_AHEAD:
            raise MisconfiguredError(f"the cache's key of {credential} is from the future", remedy="look at the clock")
        return kept

    def age(self, kept: Kept) -> str:
        """In words."""
        return text(max(datetime.fromtimestamp(self._now(), UTC) - kept.read, timedelta(0)))

    def _read(self) -> dict[str, Kept]:
        try:
            with self._path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except FileNotFoundError:
            raise MisconfiguredError("there is no cache yet", remedy="wait for the store") from None
        except OSError as error:
            raise MisconfiguredError(
                f"the cache cannot be read ({type(error).__name__})", remedy="look at its mode"
            ) from None
        body = content.removeprefix(_MARK)
        plain: bytes | None = None
        if len(content) <= _LARGEST and len(body) < len(content):
            salt, nonce, sealed = body[:_SALT], body[_SALT : _SALT + _NONCE], body[_SALT + _NONCE :]
            with suppress(InvalidTag, ValueError):
                plain = self._cipher(salt).decrypt(nonce, sealed, self._bound_to)
        if plain is None:
            raise MisconfiguredError(
                "the cache was changed, or made with another secret, for another proxy, or for secrets at another place",
                remedy="look who can write to it; then delete it: the next good read makes a new one",
            )
        try:
            return {name: _kept(entry) for name, entry in json_object(plain).items()}
        except (UnreadableError, ValueError, TypeError, OverflowError):
            pass
        raise MisconfiguredError("the cache was written by another keyturn", remedy="delete it")

    def _write(self, kept: Mapping[str, Kept]) -> None:
        document = {
            name: {"id": each.held.version.id, "value": each.held.material.reveal(), "read": each.read.timestamp()}
            for name, each in kept.items()
        }
        salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
        sealed = self._cipher(salt).encrypt(nonce, json.dumps(document).encode(), self._bound_to)
        write_private(str(self._path), _MARK + salt + nonce + sealed)

    def _cipher(self, salt: bytes) -> AESGCM:
        return AESGCM(HKDF(SHA256(), 32, salt, _CONTEXT).derive(self._secret.reveal().encode()))


def _kept(entry: object) -> Kept:
    material = KeyMaterial(inside(entry, "value"))
    version = VersionRef(plain_id(inside(entry, "id")), material.fingerprint())
    return Kept(HeldKey(version, material), datetime.fromtimestamp(float(inside(entry, "read")), UTC))
