"""What the conformance suite of `SecretStore` is played in: secrets that exist, and the other users of the backend."""

from __future__ import annotations

import json
import secrets
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from keyturn.errors import KeyturnError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, VersionRef
from keyturn.ports import SecretStore


class Shape(StrEnum):
    """The forms a value has in a store."""

    WHOLE = "whole"  # the secret is the value
    ONLY_FIELD = "only_field"  # the only field of a bundle
    FIELD = "field"  # one of several fields of a bundle


OTHER_FIELDS: Mapping[str, Any] = {
    "ANTHROPIC_API_KEY": "another provider's key",
    "PORT": 8080,
    "RATIO": 0.25,
    "BIG": 2**63 + 1,
    "ON": True,
    "NOTHING": None,
    "EMPTY": "",
    "LINES": "one\ntwo\ttabbed\r\n",
    "NESTED": {"ключ": ["é", {"deep": 'quote " backslash \\ ${X} {{ y }}'}], "empty": {}},
    "PLACE": "Straße 東京 🔑",
}
"""What stands beside our field in a bundle: none of it may change, nor its JSON type."""

HOSTILE = {
    "quotes": "a\"b'c`d",
    "backslashes": "a\\b\\\\n\\u0041",
    "templates": "${HOME} $(id) {{ .Data }} %s %(a)s {0} <%= x %>",
    "markup": '<a href="x">&amp;</a>',
    "a_document": '{"key": "x", "value": null}',
    "a_reference": "@/etc/hostname#field?query=1&b=%2F",
    "unicode": "Straße 東京 🔑 \u2028 e\u0301",
    "8_kilobytes": "x" * 8192,
}
"""Key text that a careless adapter quotes, expands, parses or cuts."""


def new_key() -> KeyMaterial:
    """Key text that no other test has."""
    return KeyMaterial("sk-" + secrets.token_hex(24))


def new_token() -> str:
    return str(uuid.uuid4())


def as_json(value: Any) -> str:
    """Equal for two values only when they have the same JSON types, too (True is not 1)."""
    return json.dumps(value, sort_keys=True)


async def refused(call: Awaitable[object], error: type[KeyturnError], *materials: KeyMaterial) -> KeyturnError:
    """The error that the call was refused with, after a look that it quotes none of the values."""
    with pytest.raises(error) as caught:
        await call
    printed = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value.__cause__)
    assert not any(material.reveal() in printed for material in materials), "the error quotes a key"
    return caught.value


@dataclass
class Place:
    """A secret that exists, its CURRENT value, and what stands beside it."""

    store: SecretStore
    secret: SecretRef
    value: KeyMaterial
    others: dict[str, Any] = field(default_factory=dict)


class StoreScene:
    """What a backend fills in, and the fixtures made of it. `shapes`: leave out what the backend does not have.

    `folder`: every path is below it; where the backend is a real one, choose one that nobody else has.
    """

    shapes: ClassVar[tuple[Shape, ...]] = tuple(Shape)
    folder: ClassVar[str] = "suite"

    def new_path(self, name: str) -> str:
        """A path that nothing stands at yet, with this word in it."""
        return f"{self.folder}/{secrets.token_hex(6)}/{name}"

    async def make_store(self) -> SecretStore:
        """A new adapter over the one backend: each stands for a worker of its own."""
        raise NotImplementedError

    async def write_whole(self, path: str, text: str) -> None:
        raise NotImplementedError

    async def read_whole(self, path: str) -> str:
        raise NotImplementedError

    async def write_bundle(self, path: str, fields: Mapping[str, Any]) -> None:
        raise NotImplementedError

    async def read_bundle(self, path: str) -> dict[str, Any]:
        raise NotImplementedError

    async def set_field(self, path: str, field: str, value: Any) -> None:
        """Must not lose writes itself: use the backend's own compare-and-swap or patch, and repeat it as needed."""
        raise NotImplementedError

    # What the tests are made of.

    @pytest_asyncio.fixture
    async def store(self) -> AsyncIterator[SecretStore]:
        store = await self.make_store()
        yield store
        await store.aclose()

    @pytest_asyncio.fixture
    async def second_store(self) -> AsyncIterator[SecretStore]:
        store = await self.make_store()
        yield store
        await store.aclose()

    @pytest_asyncio.fixture(params=list(Shape), ids=lambda shape: str(shape.value))
    async def place(self, request: pytest.FixtureRequest, store: SecretStore) -> Place:
        return await self.new_place(store, request.param)

    @pytest_asyncio.fixture
    async def bundle(self, store: SecretStore) -> Place:
        return await self.new_place(store, Shape.FIELD)

    async def new_place(self, store: SecretStore, shape: Shape) -> Place:
        if shape not in self.shapes:
            pytest.skip(f"this backend has no {shape}")
        path, value = self.new_path("openai"), new_key()
        if shape is Shape.WHOLE:
            await self.write_whole(path, value.reveal())
            return Place(store, SecretRef("suite", path), value)
        others = dict(OTHER_FIELDS) if shape is Shape.FIELD else {}
        await self.write_bundle(path, {**others, "OPENAI_API_KEY": value.reveal()})
        # As a consumer gets it: some backends round great numbers, at their own door.
        others = {name: there for name, there in (await self.read_bundle(path)).items() if name != "OPENAI_API_KEY"}
        return Place(store, SecretRef("suite", path, "OPENAI_API_KEY"), value, others)

    async def consumed(self, place: Place) -> str:
        """What a consumer gets for this value; on the way it looks that everything beside it is as it was."""
        if place.secret.field is None:
            return await self.read_whole(place.secret.path)
        fields = await self.read_bundle(place.secret.path)
        value = fields.pop(place.secret.field)
        assert as_json(fields) == as_json(place.others)
        assert isinstance(value, str)
        return value

    async def operator_changes(self, place: Place, value: KeyMaterial) -> None:
        """Somebody puts another value there by hand."""
        if place.secret.field is None:
            await self.write_whole(place.secret.path, value.reveal())
        else:
            await self.set_field(place.secret.path, place.secret.field, value.reveal())

    @staticmethod
    async def rotate(place: Place) -> tuple[VersionRef, VersionRef]:
        """Stage and promote a new key; gives (CURRENT, PREVIOUS)."""
        old = (await place.store.current(place.secret)).version
        new = await place.store.stage(place.secret, new_key(), new_token())
        await place.store.promote(place.secret, new, old)
        return new, old
