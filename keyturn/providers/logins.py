"""How a vendor's management API is logged in to: a reference becomes the headers of each call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.providers.admin_api import Headers, Login
from keyturn.references import Resolver


def bearer(reference: str, resolve: Resolver) -> Login:
    """`Authorization: Bearer`, with the secret that the reference names."""

    async def login() -> Headers:
        return with_bearer(await resolve(reference))

    return login


def header(name: str, reference: str, resolve: Resolver) -> Login:
    """The secret alone, in a header of this name."""

    async def login() -> Headers:
        return {name.encode(): (await resolve(reference)).reveal().encode()}

    return login


def headers(secret: Sequence[tuple[str, str, str]], plain: Mapping[str, str], resolve: Resolver) -> Login:
    """Several: `secret` ones, each of name, what stands before the secret, and reference; and `plain` ones."""

    async def login() -> Headers:
        sent = plain_headers(plain)
        for name, prefix, reference in secret:
            sent |= with_header(name, await resolve(reference), prefix)
        return sent

    return login


def plain_headers(plain: Mapping[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in plain.items()}


def with_bearer(material: KeyMaterial) -> Headers:
    return {b"Authorization": b"Bearer " + material.reveal().encode()}


def with_header(name: str, material: KeyMaterial, prefix: str = "") -> Headers:
    return {name.encode(): prefix.encode() + material.reveal().encode()}


def behind(prefix: str, material: KeyMaterial) -> KeyMaterial:
    """What stands behind the prefix that a key's text has for LiteLLM alone. UnreadableError for a text without it."""
    text = material.reveal()
    if not text.startswith(prefix) or text == prefix:
        raise UnreadableError
    return KeyMaterial(text.removeprefix(prefix))


async def nobody() -> Headers:
    """No login at all."""
    return {}


def in_a_list(material: KeyMaterial) -> list[str]:
    """The text of a key, for a body that names keys by their texts."""
    return [material.reveal()]
