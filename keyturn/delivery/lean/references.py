"""A secret that a plain reference leads to: `env:NAME`, or `file:PATH`."""

from __future__ import annotations

import os

from keyturn.delivery.lean.declined import Declined
from keyturn.delivery.lean.files import file_bytes
from keyturn.material import KeyMaterial

_LARGEST = 65536  # bytes


def resolved(reference: str) -> KeyMaterial:
    """As `keyturn.references.resolver` reads it. Declined where it leads nowhere."""
    kind, _, rest = reference.partition(":")
    try:
        return KeyMaterial(os.environ.get(rest, "") if kind == "env" else _file_text(rest))
    except (OSError, ValueError):
        pass
    raise Declined  # not inside `except`: a codec's error holds what it read


def _file_text(path: str) -> str:
    return file_bytes(path, _LARGEST).decode().removesuffix("\n")
