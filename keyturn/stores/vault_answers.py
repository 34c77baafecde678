"""What stands in Vault's answers: read whole, or not at all.

UnreadableError for what Vault cannot have written; it carries nothing of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.json_object import inside, texts


def number_of(metadata: Any) -> int:
    """The number of a version; 0: there is none."""
    number = inside(metadata, "version")
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else 0


def custom_metadata(data: Mapping[str, Any]) -> dict[str, str]:
    """The notes in the metadata of a document."""
    found = data.get("custom_metadata", ...)
    return {} if found is None else texts(found)
