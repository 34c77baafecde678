"""The ledger of a pool over every store that a pool may be kept in: who takes what, by the stores' own compare-and-swap."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from keyturn.errors import ConflictError, KeyturnError, NotFoundError
from keyturn.model import PoolEntry, SecretRef
from keyturn.ports import SecretStore
from keyturn.providers.pool_ledger import PoolLedger
from keyturn.stores.memory import MemoryStore
from keyturn.stores.vault_policy import policy
from keyturn.testing.looking_store import LookingStore
from keyturn.testing.store_scene import new_key
from tests.stores.aws_scene import make_store as aws_store
from tests.stores.kubernetes_scene import store_of as kubernetes_store
from tests.stores.test_dotenv_file import make_store as dotenv_store
from tests.stores.test_vault_kv2 import vault_store

NOW = datetime(2026, 11, 29, tzinfo=UTC)
SIZE = 6  # the default


def free(entry: PoolEntry) -> bool:
    return entry.is_free


@pytest_asyncio.fixture(
    params=["memory", "one look", "dotenv", "aws", "kubernetes", pytest.param("vault", marks=pytest.mark.real)]
)
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[], SecretStore]]:
    """Makes the store as one more process would have it."""
    made: list[SecretStore] = []
    shared: dict[str, Any] = {"memory": MemoryStore(), "one look": LookingStore()}

    def make() -> SecretStore:
        which = str(request.param)
        if which in shared:
            return shared[which]  # type: ignore[no-any-return]
        if which == "dotenv":
            made.append(dotenv_store(tmp_path))
        elif which == "aws":
            made.append(aws_store(request.getfixturevalue("url")))
        elif which == "kubernetes":
            made.append(kubernetes_store(request.getfixturevalue("cluster")))
        else:
            server = request.getfixturevalue("openbao")
            token = server.token(policy("+", creates=True), name=f"pool-{secrets.token_hex(4)}")
            made.append(vault_store(server, {"BAO_TOKEN": token}))
        return made[-1]

    yield make
    for store in made:
        await store.aclose()


@pytest.fixture
def ledgers(stores: Callable[[], SecretStore]) -> Callable[[], PoolLedger]:
    path = f"pool-{secrets.token_hex(6)}"
    places = [SecretRef("any", path, f"entry_{number}") for number in range(1, SIZE + 1)]

    def make() -> PoolLedger:
        store = stores()
        return PoolLedger(lambda: store, places, lambda: NOW)

    return make


async def test_a_life_of_a_key_in_a_pool_that_was_not_there(ledgers: Callable[[], PoolLedger]) -> None:
    ledger, key, other = ledgers(), new_key(), new_key()
    assert [row.key for row in await ledger.rows()] == [None] * SIZE
    with pytest.raises(NotFoundError):
        await ledger.take("keyturn-a", free, ())
    entry = await ledger.put_in(key, NOW + timedelta(days=90))
    await ledger.put_in(other, None)
    assert entry.key is not None
    assert (entry.place, entry.added_at, entry.key.expires_at) == ("entry_1", NOW, NOW + timedelta(days=90))
    with pytest.raises(ConflictError, match="already"):
        await ledgers().put_in(key, None)
    taken = await ledger.take("keyturn-a", free, ())
    assert taken.material == key
    assert (await ledgers().take("keyturn-a", free, ())).ref == taken.ref
    row = await ledgers().find(taken.ref)
    assert row is not None and row.key is not None and row.key.material == key
    await ledger.put_back(taken.ref)
    taken = await ledger.take("keyturn-b", free, {other.fingerprint()})
    await ledger.bar(taken.ref)
    with pytest.raises(ConflictError):
        await ledgers().put_back(taken.ref)
    await ledger.forget(taken.ref)
    await ledgers().forget(taken.ref)
    rows = await ledger.rows()
    assert [row.key is None for row in rows] == [True, False, *[True] * (SIZE - 2)]
    third = await ledger.put_in(new_key(), None)  # its place is used again
    again = await ledger.put_in(key, None)  # and its text may come again, where a vendor can undo the end of a key
    assert again.key is not None
    assert (third.place, again.is_free, again.key.expires_at) == ("entry_1", True, None)


async def test_those_who_race_are_each_given_a_key_of_their_own(ledgers: Callable[[], PoolLedger]) -> None:
    keys = [new_key() for _ in range(SIZE)]
    for key in keys:
        await ledgers().put_in(key, None)
    taken = await asyncio.gather(
        *(ledgers().take(f"keyturn-{number % SIZE}", free, ()) for number in range(2 * SIZE)), return_exceptions=True
    )
    done = {each.ref.name: each.ref.fingerprint for each in taken if not isinstance(each, BaseException)}
    assert all(isinstance(each, KeyturnError) for each in taken if isinstance(each, BaseException))
    for number in range(SIZE):  # who was crowded out asks again
        label = f"keyturn-{number}"
        again = await ledgers().take(label, free, ())
        assert done.setdefault(label, again.ref.fingerprint) == again.ref.fingerprint
    assert set(done.values()) == {key.fingerprint() for key in keys}


async def test_those_who_put_in_at_once_use_places_of_their_own(ledgers: Callable[[], PoolLedger]) -> None:
    keys = [new_key() for _ in range(SIZE)]
    for outcome in await asyncio.gather(*(ledgers().put_in(key, None) for key in keys), return_exceptions=True):
        assert not isinstance(outcome, BaseException) or isinstance(outcome, KeyturnError)
    for key in keys:
        try:
            await ledgers().put_in(key, None)
        except ConflictError as error:
            assert "already" in str(error)
    rows = await ledgers().rows()
    assert {row.key.version.fingerprint for row in rows if row.key} == {key.fingerprint() for key in keys}
