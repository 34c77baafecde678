"""What a report tells of one leak, whoever sent it and in whatever form."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from keyturn.material import KeyMaterial


class Digests(StrEnum):
    """How a key may be named without its text."""

    FINGERPRINT = "fingerprint"  # KeyMaterial's own
    SHA256 = "sha256"  # of the text in UTF-8, hex
    HMSL = "hmsl"  # GitGuardian's HasMySecretLeaked: see keyturn.incidents.digests


@dataclass(frozen=True, slots=True)
class Digest:
    """A key that is named by what was computed of it. `text`: lower-case hex."""

    kind: Digests
    text: str


@dataclass(frozen=True, slots=True)
class Leak:
    """One leak: the key's text, or a digest of it, or neither, and then what the scanner calls its type.

    `alert`: the same for every report of the same leak by this scanner, "" where it has no such name. It is shown to nobody.
    """

    material: KeyMaterial | None = None
    digest: Digest | None = None
    type: str = ""
    alert: str = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """An alert whose text its scanner tells whoever asks: the API's path."""

    path: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What one leak is about: the credentials that it is a key of.

    `name` is the same whenever the same leak is reported: `key.FINGERPRINT`, `alert.DIGEST`, `credential.NAME`. It goes into
    Prefect as a tag. `same`: other names under which this leak may be reported, too.
    """

    name: str
    credentials: tuple[str, ...]
    same: tuple[str, ...] = ()

    @property
    def is_lasting(self) -> bool:
        """Whether it is about one value, or one alert: reported again at any time, it is the same leak."""
        return not self.name.startswith(_CREDENTIAL)

    @property
    def fingerprint(self) -> str:
        """Of the value that has leaked, where that is known; else ""."""
        return self.name.removeprefix(_KEY) if self.name.startswith(_KEY) else ""


_KEY, _ALERT, _CREDENTIAL = "key.", "alert.", "credential."


def key_subject(fingerprint: str, credentials: Collection[str], in_service: Collection[str]) -> Subject:
    """`in_service`: those of the credentials that it is the current value of. An old one is another leak than theirs."""
    same = tuple(_CREDENTIAL + name for name in sorted(set(in_service)))
    return Subject(_KEY + fingerprint, tuple(sorted(set(credentials))), same)


def alert_subject(source: str, alert: str, credentials: Collection[str]) -> Subject:
    """The alert's name comes from outside: of it a digest is kept."""
    digest = hashlib.sha256(f"{source} {alert}".encode(errors="replace")).hexdigest()[:16]
    return Subject(_ALERT + digest, tuple(sorted(set(credentials))))


def credential_subject(name: str, current: str | None) -> Subject:
    """`current`: the fingerprint of its value in service, where that is known."""
    return Subject(_CREDENTIAL + name, (name,), (_KEY + current,) if current else ())
