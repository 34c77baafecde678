"""What holds a simulator to the truth, as a value that a test can look after."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class By(StrEnum):
    """`SDK`: the vendor's client, unchanged, does a whole life of a key with the simulator. `SPEC`: requests and answers fit
    the vendor's API description. `PAGE`: answers have the form of the example on the vendor's page, kept in tests/data."""

    SDK = "sdk"
    SPEC = "spec"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class HeldBy:
    """`what`: the SDK and its version, the description, or the page. `test`: the test that does it, `path::name`."""

    by: By
    what: str
    test: str
