"""The memory store keeps the promises of every store."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from keyturn.ports import SecretStore
from keyturn.stores.memory import MemoryStore
from keyturn.testing.store_suite import StoreSuite


class TestMemoryStore(StoreSuite):
    memory: MemoryStore

    @pytest.fixture(autouse=True)
    def _one_memory(self) -> None:
        self.memory = MemoryStore()

    async def make_store(self) -> SecretStore:
        return self.memory

    async def write_whole(self, path: str, text: str) -> None:
        self.memory.documents[path] = text

    async def read_whole(self, path: str) -> str:
        document = self.memory.documents[path]
        assert isinstance(document, str)
        return document

    async def write_bundle(self, path: str, fields: Mapping[str, Any]) -> None:
        self.memory.documents[path] = copy.deepcopy(dict(fields))

    async def read_bundle(self, path: str) -> dict[str, Any]:
        document = self.memory.documents[path]
        assert isinstance(document, dict)
        return copy.deepcopy(document)

    async def set_field(self, path: str, field: str, value: Any) -> None:
        document = self.memory.documents[path]
        assert isinstance(document, dict)
        document[field] = value
