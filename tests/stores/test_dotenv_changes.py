"""The store of files tells of changes: whoever writes, however, and whatever becomes of the file meanwhile."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from keyturn.errors import MisconfiguredError, UnavailableError
from keyturn.model import HeldKey, SecretRef, VersionRef
from keyturn.stores import file_changes
from keyturn.stores.dotenv_file import DotenvFile
from keyturn.testing.store_scene import new_key, new_token
from tests.stores.test_dotenv_file import make_store

LINE = SecretRef("dotenv", "llm/.env", "OPENAI_API_KEY")
WHOLE = SecretRef("dotenv", "llm/key")
SOON = 30.0  # seconds, on a machine however busy
STILL = 2 * file_changes.LOOK + 0.2  # seconds


def save(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def put_in_place(path: Path, text: str) -> None:
    """As most tools write: another file, renamed."""
    (path.parent / "new").write_text(text)
    (path.parent / "new").rename(path)


def line(key: Any = None) -> str:
    return f"A=1\nOPENAI_API_KEY={(key or new_key()).reveal()}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save(tmp_path / "llm/.env", line())
    return tmp_path / "llm/.env"


@pytest.fixture
def store(tmp_path: Path) -> DotenvFile:
    return make_store(tmp_path)


async def now(store: DotenvFile, secret: SecretRef = LINE) -> VersionRef:
    return (await store.current(secret)).version


async def listening(store: DotenvFile, secret: SecretRef = LINE) -> asyncio.Task[None]:
    """Who waits for another value than the one that is there, and has looked already."""
    task = asyncio.create_task(store.changed(secret, await now(store, secret)))
    await asyncio.sleep(0.2)
    assert not task.done()
    return task


async def comes(task: Coroutine[Any, Any, None] | asyncio.Task[None]) -> None:
    await asyncio.wait_for(task, SOON)


async def stays(task: asyncio.Task[None]) -> None:
    await asyncio.wait({task}, timeout=STILL)
    assert not task.done()


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("write", [save, put_in_place])
async def test_a_change_is_told_whoever_writes(write: Callable[[Path, str], None], file: Path, store: DotenvFile) -> None:
    task = await listening(store)
    write(file, line())
    await comes(task)


async def test_a_promote_is_told(file: Path, store: DotenvFile) -> None:
    task, old = await listening(store), await now(store)
    new = await store.stage(LINE, new_key(), new_token())
    await stays(task)
    await store.promote(LINE, new, old)
    await comes(task)


async def test_a_file_that_is_one_key_is_told_of_too(tmp_path: Path, store: DotenvFile) -> None:
    save(tmp_path / "llm/key", new_key().reveal())
    task = await listening(store, WHOLE)
    save(tmp_path / "llm/key", new_key().reveal())
    await comes(task)


async def test_what_is_another_value_already_is_told_at_once(file: Path, store: DotenvFile) -> None:
    old = await now(store)
    save(file, line())
    await comes(store.changed(LINE, old))


async def test_another_line_and_the_same_value_again_are_no_news(file: Path, store: DotenvFile) -> None:
    task, text = await listening(store), file.read_text()
    save(file, text + "B=2\n")
    await stays(task)
    put_in_place(file, text)
    await stays(task)
    await end(task)


async def test_a_file_that_is_gone_or_broken_is_waited_for(file: Path, store: DotenvFile) -> None:
    task = await listening(store)
    file.unlink()
    await stays(task)
    file.parent.rename(file.parent.with_name("elsewhere"))
    await stays(task)
    save(file, "OPENAI_API_KEY=\n")
    await stays(task)
    save(file, 'OPENAI_API_KEY="a$b" # neither\n')
    await stays(task)
    save(file, line())
    await comes(task)


async def test_a_link_in_its_place_is_not_followed(file: Path, store: DotenvFile) -> None:
    task = await listening(store)
    file.unlink()
    save(file.with_name("other"), line())
    file.symlink_to(file.with_name("other"))
    await stays(task)
    file.unlink()
    save(file, line())
    await comes(task)


async def test_a_change_during_the_read_is_not_lost(file: Path, store: DotenvFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value that the read gives is the old one; what was written meanwhile is seen by the mark taken before."""
    plain = store.current

    async def current(secret: SecretRef) -> HeldKey:
        found = await plain(secret)
        if not written:
            written.append(1)
            put_in_place(file, line())
        return found

    written: list[int] = []
    old = await now(store)
    monkeypatch.setattr(file_changes, "_YOUNG", 0)  # else a second look would hide that the first came too late
    monkeypatch.setattr(store, "current", current)
    await comes(store.changed(LINE, old))
    assert written


async def test_a_change_that_leaves_every_time_as_it_was_is_not_lost(
    file: Path, store: DotenvFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writes within one step of a file system's clock: size, inode and times are those of the first."""
    plain = file_changes.mark

    def mark(path: Path) -> file_changes.Mark:
        return plain(path)[-1:]  # nothing moves but the age

    monkeypatch.setattr(file_changes, "mark", mark)
    monkeypatch.setattr("keyturn.stores.dotenv_file.mark", mark)
    task = await listening(store)
    save(file, line())
    await comes(task)


async def test_a_read_that_failed_and_may_go_well_is_repeated(
    file: Path, store: DotenvFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, failures = store.current, [UnavailableError("EIO"), UnavailableError("EIO")]
    old = await now(store)
    save(file, line())

    async def current(secret: SecretRef) -> HeldKey:
        if failures:
            raise failures.pop()
        return await plain(secret)

    monkeypatch.setattr(store, "current", current)
    await comes(store.changed(LINE, old))
    assert not failures


async def test_a_file_is_read_only_where_it_has_changed(
    file: Path, store: DotenvFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(file, (0, 0))
    task = await listening(store)
    await asyncio.sleep(3)  # until it is no longer new
    reads: list[SecretRef] = []
    monkeypatch.setattr(store, "current", reads.append)
    await stays(task)
    assert not reads
    await end(task)


async def test_a_path_that_leads_out_is_told(store: DotenvFile) -> None:
    with pytest.raises(MisconfiguredError):
        await store.changed(SecretRef("dotenv", "../x", "A"), VersionRef("1", "f"))


async def test_who_stops_waiting_leaves_no_thread(file: Path, store: DotenvFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_changes, "_YOUNG", 0)  # else the file's age would end the waits
    tasks = [await listening(store) for _ in range(3)]
    there = [each for each in threading.enumerate() if each.name == "keyturn-file-changes"]
    assert len(there) == 3
    for task in tasks:
        await end(task)
    for thread in there:
        await asyncio.to_thread(thread.join, SOON)
    assert not any(thread.is_alive() for thread in there)


async def test_a_file_system_that_hangs_holds_up_nothing_else(
    file: Path, store: DotenvFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, released = await listening(store), threading.Event()

    def hang(path: Path) -> file_changes.Mark:
        released.wait(60)
        return ()

    monkeypatch.setattr(file_changes, "mark", hang)
    await asyncio.sleep(STILL)
    await asyncio.wait_for(end(task), SOON)
    released.set()
