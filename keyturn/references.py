"""References to secrets: how keyturn.yaml names a secret without holding it.

`env:NAME` a variable of this process, `file:PATH` the text of a file (one trailing newline is dropped),
`store:NAME/PATH#FIELD` a value in a configured store. Anything else is refused, and never printed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from keyturn.errors import MisconfiguredError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef

_REFERENCE = re.compile(
    r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\s#]+|store:[A-Za-z0-9_-]+/[A-Za-z0-9_./+=@-]+(#[A-Za-z0-9_.-]+)?"
)


def _must_be_a_reference(value: Any) -> str:
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        raise ValueError(
            "must be a reference to a secret: env:NAME, file:PATH or store:NAME/PATH#FIELD. What stands here is not "
            "printed; if it is a real key, take it out of the file and rotate it"
        )
    return value


SecretReference = Annotated[str, BeforeValidator(_must_be_a_reference)]
"""A pydantic field type: text of one of the three forms."""


def _must_be_http(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/@]+(/[^\s]*)?", value):
        raise ValueError("must be an http:// or https:// address without a user name or password in it")
    try:
        _ = urlsplit(value).port
    except ValueError:
        raise ValueError("must have a port from 1 to 65535, or none") from None
    return value.rstrip("/")


Address = Annotated[str, AfterValidator(_must_be_http)]
"""A pydantic field type: a base URL, kept without its last slash."""

Resolver = Callable[[str], Awaitable[KeyMaterial]]
"""From a reference to the secret, read anew at each call, so that a rotated credential of ours is picked up."""


def resolver(
    read_store: Callable[[SecretRef], Awaitable[KeyMaterial]] | None = None, environ: Mapping[str, str] = os.environ
) -> Resolver:
    """A Resolver over this process's environment, its files and (where given) the configured stores.

    It raises MisconfiguredError, which names the reference and never the value, for one that leads nowhere.
    """

    async def resolve(reference: str) -> KeyMaterial:
        kind, _, rest = reference.partition(":")
        if kind == "env":
            return _material(reference, environ.get(rest, ""), f"set the environment variable {rest}")
        if kind == "file":
            return _material(reference, _file_text(Path(rest), reference), f"write the secret to {rest}")
        if kind == "store" and read_store is not None:
            return await read_store(parse_store_reference(reference))
        raise MisconfiguredError("a reference of this kind cannot be used here", remedy="use env:NAME or file:PATH")

    return resolve


def parse_store_reference(reference: str) -> SecretRef:
    """The address in `store:NAME/PATH#FIELD`."""
    store, _, rest = reference.removeprefix("store:").partition("/")
    path, _, field = rest.partition("#")
    return SecretRef(store, path, field or None)


def _file_text(path: Path, reference: str) -> str:
    try:
        return path.read_text().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise MisconfiguredError(f"{reference} cannot be read ({type(error).__name__})", remedy=f"check {path}") from None


def _material(reference: str, text: str, remedy: str) -> KeyMaterial:
    try:
        return KeyMaterial(text)
    except ValueError as error:
        raise MisconfiguredError(f"{reference} gives no usable secret: {error}", remedy=remedy) from None
