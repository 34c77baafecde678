"""References to secrets: how keyturn.yaml names a secret without holding it.

`env:NAME` a variable of this process, `file:PATH` the text of a file (one trailing newline is dropped),
`store:NAME/PATH#FIELD` a value in a configured store. Anything else is refused, and never printed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Any

import idna
from pydantic import AfterValidator, BeforeValidator

from keyturn.errors import MisconfiguredError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef

STORE_REFERENCE = re.compile(r"store:[A-Za-z0-9_-]+/[A-Za-z0-9_./+=@-]+(#[A-Za-z0-9_.-]+)?")
REFERENCE = re.compile(rf"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\s#\x00-\x1f\x7f\ud800-\udfff]+|{STORE_REFERENCE.pattern}")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HTTP = re.compile(
    rf"https?://(?:(?P<host>{_LABEL}(?:\.{_LABEL})*\.?)|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{{1,5}}))?"
    r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
)
_LONGEST_ADDRESS, _LONGEST_HOST = 2000, 253
_LARGEST_SECRET = 65536  # bytes


def _must_be_a_reference(value: Any) -> str:
    if not isinstance(value, str) or not REFERENCE.fullmatch(value):
        raise ValueError(
            "must be a reference to a secret: env:NAME, file:PATH or store:NAME/PATH#FIELD. What stands here is not "
            "printed; if it is a real key, take it out of the file and rotate it"
        )
    return value


SecretReference = Annotated[str, BeforeValidator(_must_be_a_reference)]
"""A pydantic field type: text of one of the three forms."""


def _must_be_http(value: str) -> str:
    found = _HTTP.fullmatch(value) if len(value) <= _LONGEST_ADDRESS else None
    if found is None or not (_is_ipv6(found["ipv6"]) if found["ipv6"] else _is_name(found["host"])):
        raise ValueError(
            "must be an http:// or https:// address without a user name or password in it, without ? or #, and with a host "
            "in plain ASCII"
        )
    if found["port"] is not None and not 1 <= int(found["port"]) <= 65535:
        raise ValueError("must have a port from 1 to 65535, or none")
    return value.rstrip("/")


def _is_name(host: str) -> bool:
    try:
        # As httpx reads it: what it cannot read would come up only when it is asked.
        return len(host) <= _LONGEST_HOST and ("xn--" not in host.lower() or bool(idna.decode(host)))
    except UnicodeError:
        return False


def _is_ipv6(text: str) -> bool:
    try:
        return IPv6Address(text).version == 6
    except ValueError:
        return False


Address = Annotated[str, AfterValidator(_must_be_http)]
"""A pydantic field type: a base URL, kept without its last slash."""


def _must_be_absolute(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError("must be an absolute path")
    return value


AbsolutePath = Annotated[Path, AfterValidator(_must_be_absolute)]
"""A pydantic field type: a path that means the same from every folder."""

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
    failure, text = "", ""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_SECRET + 1)  # a device may never end
        text = content.decode().removesuffix("\n")
    except (OSError, ValueError) as error:
        failure = type(error).__name__
    if failure:  # not inside `except`: a codec's error holds what it read
        raise MisconfiguredError(f"{reference} cannot be read ({failure})", remedy=f"check {path}")
    if len(content) > _LARGEST_SECRET:
        raise MisconfiguredError(f"{reference} is too large for a secret", remedy=f"check {path}")
    return text


def _material(reference: str, text: str, remedy: str) -> KeyMaterial:
    try:
        return KeyMaterial(text)
    except ValueError as error:
        raise MisconfiguredError(f"{reference} gives no usable secret: {error}", remedy=remedy) from None
