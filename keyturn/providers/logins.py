"""How a vendor's management API is logged in to: a reference becomes the headers of each call."""

from __future__ import annotations

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


def with_bearer(material: KeyMaterial) -> Headers:
    return {b"Authorization": b"Bearer " + material.reveal().encode()}


def with_header(name: str, material: KeyMaterial) -> Headers:
    return {name.encode(): material.reveal().encode()}
