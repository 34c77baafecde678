"""What stands beside one field of a bundle: its PENDING and PREVIOUS, in one document under one staging label.

The bundle's own AWSPENDING and AWSPREVIOUS belong to all of its fields and cannot say it. Two labels for each field
would be plain, but AWS allows 20 labels for a secret, over all of its versions (user guide, quotas), and ten fields may
rotate at once. So each field has one label, and the document below is made such that moving AWSCURRENT is still the
one act that promotes: PENDING and PREVIOUS follow from the document and from what CURRENT is now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from keyturn.json_object import UnreadableError, inside, json_object, plain_id, texts
from keyturn.json_object import text as text_of
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, Stage, VersionRef
from keyturn.stores.aws_bars import Bars, bars_of, listed

_REMEMBERED = 50  # tokens; the document has to stay small
_NO_VALUE = ""
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Journal:
    """`base`: what CURRENT was when this was written. `previous`: what PREVIOUS is while CURRENT still is `base`.

    As soon as CURRENT is anything else (our promote, or somebody's hand), PREVIOUS is `base`.
    `issued`: the last tokens that were used here, the oldest first, with the fingerprints of their keys, so that none is
    used twice; "" for one that was spent without a key. Of them `_REMEMBERED` are written: a token is forgotten, and could
    be staged under, once so many newer ones were staged or spent at this field.
    `barred`: see aws_bars.
    """

    base: HeldKey
    pending: HeldKey | None = None
    previous: HeldKey | None = None
    issued: Mapping[str, str] = field(default_factory=dict)
    barred: Bars = field(default_factory=dict)

    def held(self, current: HeldKey) -> dict[Stage, HeldKey]:
        """PENDING and PREVIOUS beside this CURRENT; one that holds CURRENT's own value is none."""
        previous = self.previous if self.is_based_on(current) else self.base
        found = {Stage.PENDING: self.pending, Stage.PREVIOUS: previous}
        return {stage: key for stage, key in found.items() if key is not None and key.version != current.version}

    def is_based_on(self, current: HeldKey) -> bool:
        return self.base.version == current.version

    @classmethod
    def of(cls, held: Mapping[Stage, HeldKey], issued: Mapping[str, str] = _NOTHING, barred: Bars = _NOTHING) -> Journal:
        """Says what is held, on the base of the CURRENT among it."""
        return cls(held[Stage.CURRENT], held.get(Stage.PENDING), held.get(Stage.PREVIOUS), issued, barred)

    def having_spent(self, token: str) -> Journal:
        """It says the same at any CURRENT, and has one token more."""
        return replace(self, issued={**self.issued, token: _NO_VALUE})

    def having_barred(self, barred: Bars) -> Journal:
        """It says the same at any CURRENT, but for what is barred."""
        return replace(self, barred=barred)

    def text(self) -> str:
        keys = {"base": self.base, "pending": self.pending, "previous": self.previous}
        return json.dumps(
            {"issued": dict(list(self.issued.items())[-_REMEMBERED:]), "barred": listed(self.barred)}
            | {name: {"id": key.version.id, "key": key.material.reveal()} for name, key in keys.items() if key is not None}
        )

    @classmethod
    def parse(cls, text: str) -> Journal | None:
        """None for text that is not a journal; it is not quoted."""
        try:
            document = json_object(text)
            keys = {name: _read(document[name]) for name in ("base", "pending", "previous") if name in document}
            return cls(**keys, issued=texts(document["issued"]), barred=bars_of(document.get("barred", [])))
        except (ValueError, TypeError, KeyError, UnreadableError):
            return None


def _read(key: Any) -> HeldKey:
    material = KeyMaterial(text_of(inside(key, "key")))
    return HeldKey(VersionRef(plain_id(inside(key, "id")), material.fingerprint()), material)
