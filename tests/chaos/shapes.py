"""What kinds of worlds there are: a shape of store and a shape of provider. A later one joins by its line here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

FIELD = "OPENAI_API_KEY"

Kind = Literal["vault", "aws", "kube", "files"]


@dataclass(frozen=True, slots=True)
class Place:
    """One secret: in which store, and whether it is a field of a bundle or the whole of a secret."""

    store: Kind
    whole: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """`places`: the first decides. `account`: keys are added to one service account; else each key has its own.

    `overlap`: how long an old key lives on; 0: a rotation goes through revoke.
    """

    name: str
    places: tuple[Place, ...]
    account: bool
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
PROVIDERS: dict[str, bool] = {"account": True, "minted": False}

_TWO_MEMBERS = ("vault-field-account", "aws-then-vault-minted", "kube-field-minted")

SHAPES = tuple(
    Shape(f"{store}-{provider}", STORES[store], PROVIDERS[provider], 2 if f"{store}-{provider}" in _TWO_MEMBERS else 1)
    for store, provider in product(STORES, PROVIDERS)
)
OVERLAPPING = (
    Shape("vault-field-overlap", STORES["vault-field"], account=True, overlap="2s"),
    Shape("aws-whole-overlap", STORES["aws-whole"], account=False, overlap="2s"),
)
BUNDLES = (
    Shape("vault-ten", STORES["vault-field"], account=True, credentials=10),
    Shape("aws-ten", STORES["aws-field"], account=True, credentials=10),
    Shape("kube-ten", STORES["kube-field"], account=True, credentials=10),
    Shape("files-ten", STORES["files-field"], account=True, credentials=10),
)
