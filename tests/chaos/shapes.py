"""What kinds of worlds there are: a shape of store and a shape of provider. A later one joins by its line here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

FIELD = "OPENAI_API_KEY"

Kind = Literal["vault", "aws", "kube", "files"]
Vendor = Literal[  # of ACCOUNTS
    "account", "minted", "slots", "pool", "console", "capped", "unlisted", "declared", "leased", "turned", "turned_at_once"
]


@dataclass(frozen=True, slots=True)
class Place:
    """One secret: in which store, and whether it is a field of a bundle or the whole of a secret."""

    store: Kind
    whole: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """`places`: the first decides. `vendor`: the shape of provider, with `account` OpenAI whose keys are all of one service
    account, and with `minted` OpenAI where each has its own.

    `overlap`: how long an old key lives on; 0: a rotation goes through revoke.
    """

    name: str
    places: tuple[Place, ...]
    vendor: Vendor
    members: int = 1
    overlap: str = "0s"
    credentials: int = 1


_VAULT_FIELD, _VAULT_WHOLE = Place("vault", whole=False), Place("vault", whole=True)
_AWS_FIELD, _AWS_WHOLE = Place("aws", whole=False), Place("aws", whole=True)
_KUBE_FIELD, _KUBE_WHOLE = Place("kube", whole=False), Place("kube", whole=True)
_FILES_FIELD, _FILES_WHOLE = Place("files", whole=False), Place("files", whole=True)

STORES: dict[str, tuple[Place, ...]] = {
    "vault-field": (_VAULT_FIELD,),
    "vault-whole": (_VAULT_WHOLE,),
    "aws-field": (_AWS_FIELD,),
    "aws-whole": (_AWS_WHOLE,),
    "vault-then-aws": (_VAULT_FIELD, _AWS_WHOLE),
    "aws-then-vault": (_AWS_FIELD, _VAULT_WHOLE),
    "kube-field": (_KUBE_FIELD,),
    "kube-whole": (_KUBE_WHOLE,),
    "files-field": (_FILES_FIELD,),
    "files-whole": (_FILES_WHOLE,),
    "kube-then-files": (_KUBE_FIELD, _FILES_WHOLE),
    "files-then-kube": (_FILES_FIELD, _KUBE_WHOLE),
}
PROVIDERS: tuple[Vendor, ...] = ("account", "minted")

_TWO_MEMBERS = ("vault-field-account", "aws-then-vault-minted", "kube-field-minted")

SHAPES = tuple(
    Shape(f"{store}-{provider}", STORES[store], provider, 2 if f"{store}-{provider}" in _TWO_MEMBERS else 1)
    for store, provider in product(STORES, PROVIDERS)
)
OVERLAPPING = (
    Shape("vault-field-overlap", STORES["vault-field"], "account", overlap="2s"),
    Shape("aws-whole-overlap", STORES["aws-whole"], "minted", overlap="2s"),
)
# The other shapes, each twice, with different kinds of store. Worlds with files are dear: they change the disk fifty times.
OTHERS = (
    Shape("vault-field-slots", STORES["vault-field"], "slots", members=2),
    Shape("aws-then-vault-slots", STORES["aws-then-vault"], "slots", overlap="2s"),
    Shape("vault-then-aws-pool", STORES["vault-then-aws"], "pool"),
    Shape("files-field-pool", STORES["files-field"], "pool", members=2),
    Shape("aws-field-console", STORES["aws-field"], "console"),
    Shape("kube-field-console", STORES["kube-field"], "console", overlap="2s"),
    Shape("vault-whole-capped", STORES["vault-whole"], "capped", members=2),
    Shape("kube-field-capped", STORES["kube-field"], "capped"),
    Shape("vault-field-unlisted", STORES["vault-field"], "unlisted"),
    Shape("aws-whole-unlisted", STORES["aws-whole"], "unlisted", overlap="2s"),
    Shape("aws-field-declared", STORES["aws-field"], "declared"),
    Shape("kube-whole-declared", STORES["kube-whole"], "declared"),
    Shape("aws-whole-leased", STORES["aws-whole"], "leased", members=2),
    Shape("kube-field-leased", STORES["kube-field"], "leased"),
    Shape("vault-field-turned", STORES["vault-field"], "turned", members=2, overlap="2s"),
    Shape("kube-whole-turned", STORES["kube-whole"], "turned", overlap="2s"),
    Shape("aws-whole-turned-at-once", STORES["aws-whole"], "turned_at_once", members=2),
    Shape("vault-then-aws-turned-at-once", STORES["vault-then-aws"], "turned_at_once"),
)
BUNDLES = (
    Shape("vault-ten", STORES["vault-field"], "account", credentials=10),
    Shape("aws-ten", STORES["aws-field"], "account", credentials=10),
    Shape("kube-ten", STORES["kube-field"], "account", credentials=10),
    Shape("files-ten", STORES["files-field"], "account", credentials=10),
)
