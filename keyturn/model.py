"""The nouns of a rotation: frozen values that carry references, never key text."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.material import KeyMaterial

_NAMESPACE = uuid.UUID("6f0e7a52-3c53-5d0b-9d83-4f1f6a1f8e10")
_NUMBER = 12  # hex digits of a rotation's id that stand in the label of its key


class Stage(StrEnum):
    """Where a version of a secret stands."""

    PENDING = "pending"  # written, served by nobody
    CURRENT = "current"  # what the proxies are told to use
    PREVIOUS = "previous"  # what they used before; lives until the overlap ends


class Verdict(StrEnum):
    """What a canary found. INDETERMINATE is the answer for everything not known to be one of the other two."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and the reason for it, in words of ours."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class SecretRef:
    """The address of one value: a whole secret (`field` None) or one field of a JSON bundle. Printed `store:path#field`."""

    store: str
    path: str
    field: str | None = None

    def __str__(self) -> str:
        return f"{self.store}:{self.path}" + (f"#{self.field}" if self.field else "")


@dataclass(frozen=True, slots=True)
class VersionRef:
    """One version of one value.

    `id` is the store's own handle (the AWS version id, the Vault version or staging token) and is not compared.
    `fingerprint` is `KeyMaterial.fingerprint()` of the value: two VersionRefs are equal when they name the same value,
    also when another field of the bundle has moved the store's own version meanwhile.
    """

    id: str = field(compare=False)
    fingerprint: str


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A value together with the version it was read from, in one consistent read."""

    version: VersionRef
    material: KeyMaterial


@dataclass(frozen=True, slots=True)
class HeldToken(HeldKey):
    """A value that ends by itself, and no secret of a store: a lease. All in UTC.

    `asked`: when it was asked for, so all that it lives counts from there at the latest. From `due` on a new one is to be
    fetched, until `last` it is given out, and from `ends` on it is refused.
    """

    asked: datetime
    due: datetime
    last: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Look:
    """One secret at one moment: what its stages hold, and the notes beside it. `world`: what its store keeps of it."""

    held: Mapping[Stage, HeldKey]
    notes: Mapping[str, str]
    world: object = field(repr=False, compare=False)

    @property
    def stages(self) -> Mapping[Stage, VersionRef]:
        return {stage: key.version for stage, key in self.held.items()}


def meant(held: Mapping[Stage, HeldKey], version: VersionRef) -> HeldKey | None:
    """What a promote of this version makes CURRENT; None: no stage holds it. Of PENDING it has to be the staging that was
    seen, and not only its value."""
    pending, previous = held.get(Stage.PENDING), held.get(Stage.PREVIOUS)
    if pending is not None and (pending.version, pending.version.id) == (version, version.id):
        return pending
    return previous if previous is not None and previous.version == version else None


@dataclass(frozen=True, slots=True)
class KeyRef:
    """A key at the provider, without its text.

    `id`: the provider's handle. `name`: the label it was created with. `hint`: the provider's redacted form, "" if none.
    `owner`: the account it belongs to, "" if none. `fingerprint`: KeyMaterial's, where the provider tells the text again.
    Times are aware and in UTC; None where the provider does not say.
    """

    id: str
    name: str
    hint: str = ""
    owner: str = ""
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class LoginLife:
    """Of what keyturn logs in to a vendor with: when it was issued, and when it ends. None where that is not known."""

    issued_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """The provider's answer to a create: the only moment its text can be read."""

    ref: KeyRef
    material: KeyMaterial


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """One place of a pool of keys that people have made ahead. `key`: what it holds; None: it is empty.

    `key.name`: the label of the rotation that has taken it; "" while it is free. `added_at`, `key.expires_at`: as they were
    told when it was added.
    """

    place: str
    key: KeyRef | None = None
    added_at: datetime | None = None

    @property
    def is_free(self) -> bool:
        """A rotation may take it."""
        return self.key is not None and not self.key.name


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider's key API can do. Plans and evidence are worded by it."""

    shape: str  # create_delete | two_slots | in_place | pool | leased
    can_list: bool = True
    can_disable: bool = False
    can_check: bool = True  # False: only a call through a proxy tells whether a key is accepted
    supports_expiry: bool = False
    reports_last_use: bool = False
    max_live_keys: int | None = None  # the vendor refuses one more
    usage_lag: timedelta = timedelta(0)  # how long the provider may take to report a use
    propagation: timedelta = timedelta(seconds=30)  # how long a new key may be refused, or a dead one accepted


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of preflight or doctor: what was looked at, whether it is well (None: could not tell), what to do if not."""

    what: str
    ok: bool | None
    detail: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """One proxy of a fleet. `url` is the proxy itself, asked directly and never through a load balancer."""

    name: str
    url: str
    control: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """How keyturn's own keys are told from all others at the provider.

    The label of a rotation's key is `keyturn-<credential>-<mark>-<rotation>`. The mark is made of the address of the
    deciding secret, so that two installations that share a provider never take each other's keys for strays.
    """

    credential: str
    text: str

    @classmethod
    def of(cls, credential: str, address: str) -> Mark:
        return cls(credential, hashlib.sha256(address.encode()).hexdigest()[:6])

    def label(self, rotation: str) -> str:
        """The name of the key that this rotation creates."""
        return f"keyturn-{self.credential}-{self.text}-{uuid.UUID(rotation).hex[:_NUMBER]}"

    def is_ours(self, name: str) -> bool:
        """Whether a key of this name was created by this installation for this credential."""
        return re.fullmatch(rf"keyturn-{re.escape(self.credential)}-{self.text}-[0-9a-f]{{{_NUMBER}}}", name) is not None

    def rotation(self, number: str) -> str:
        """The id with this number, 12 hex digits, at its front. The rest follows, so that a label tells the whole."""
        rest = hashlib.sha256(f"{self.credential}/{self.text}/{number}".encode()).hexdigest()
        return str(uuid.UUID(number + rest[: 32 - _NUMBER], version=5))

    def rotation_of(self, label: str) -> str:
        """The id of the rotation that a key of ours was made for. ValueError for any other name."""
        if not self.is_ours(label):
            raise ValueError("not a label of ours")
        return self.rotation(label[-_NUMBER:])


def rotation_id(mark: Mark, current_fingerprint: str, attempt: int) -> str:
    """The id of the rotation away from one value: a UUID, the same for every worker that sees the same CURRENT.

    `attempt` counts rotations away from any value of this credential that were given up: their tokens are spent.
    """
    path = f"{mark.credential}/{mark.text}/{current_fingerprint}/{attempt}"
    return mark.rotation(uuid.uuid5(_NAMESPACE, path).hex[:_NUMBER])


Serving = Mapping[str, Mapping[str, VersionRef | None]]  # fleet -> member -> what it serves (None: unknown)
