"""A key ring in a program without an event loop: many threads, a fork, an end that nobody prepared."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.delivery.keyring import Freshness, KeyRing
from keyturn.delivery.keyring_background import Background
from keyturn.delivery.keys import Variable
from keyturn.errors import DeniedError, MisconfiguredError, StaleKeyError, UnavailableError
from keyturn.model import HeldKey
from keyturn.stores.memory import MemoryStore
from tests.delivery.ring_scene import NAME, Shop, Time
from tests.delivery.test_variables import CONFIG
from tests.test_house import ROOT

QUICK = Freshness(interval=timedelta(milliseconds=5), floor=timedelta(milliseconds=1), max_staleness=None)
LIMIT = 60.0  # seconds that a condition is waited for


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Plain:
    """A store that any thread and process may read."""

    def __init__(self) -> None:
        self.shop = Shop()
        self.reads = 0
        self.failure: Exception | None = None

    async def read(self) -> HeldKey:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return self.shop.held


def test_a_program_without_an_event_loop_has_its_keys_and_their_successors() -> None:
    store = Plain()
    with KeyRing({NAME: store.read}, QUICK) as ring:
        assert ring.get(NAME) == store.shop.held.material.reveal()
        new = store.shop.turn()
        until(lambda: ring.get(NAME) == new.material.reveal())
        assert ring.stats()["running"]
    assert not ring.running
    assert all("keyring" not in thread.name for thread in threading.enumerate())


def test_many_threads_that_read_while_keys_turn_see_one_that_was_current_and_never_a_mix() -> None:
    stores = {f"KEY_{n}": Plain() for n in range(4)}
    issued = {name: {store.shop.held.material.reveal()} for name, store in stores.items()}
    faults: list[str] = []
    done = threading.Event()
    seen: set[str] = set()

    def look(ring: KeyRing) -> None:
        try:
            while not done.is_set():
                for name in stores:
                    held = ring.held(name)
                    if held.material.fingerprint() != held.version.fingerprint:
                        faults.append("a mix")
                    text = ring.get(name)
                    if text not in issued[name]:
                        faults.append("a key of another name")
                    seen.add(text)
        except Exception as error:
            faults.append(type(error).__name__)

    with KeyRing({name: store.read for name, store in stores.items()}, QUICK) as ring:
        threads = [threading.Thread(target=look, args=(ring,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(50):
            for name, store in stores.items():
                key = Shop().held
                issued[name].add(key.material.reveal())
                store.shop.held = key
            until(lambda: all(ring.version(name) == store.shop.held.version for name, store in stores.items()))
        done.set()
        for thread in threads:
            thread.join()
    assert faults == []
    assert len(seen) > 50


def test_threads_that_ask_for_a_refresh_share_it() -> None:
    store = Plain()
    slow = Freshness(interval=timedelta(hours=1), floor=timedelta(minutes=30))
    ahead = [0.0]
    with KeyRing({NAME: store.read}, slow, clock=lambda: time.monotonic() + ahead[0]) as ring:
        new = store.shop.turn()
        ahead[0] = 1900
        answers: list[bool] = []
        threads = [threading.Thread(target=lambda: answers.append(ring.refresh())) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [True] * 20
        assert store.reads == 2
        assert ring.version(NAME) == new.version


async def test_a_ring_of_an_event_loop_is_refreshed_from_other_threads_but_would_wait_for_itself_here() -> None:
    store = Plain()
    async with KeyRing({NAME: store.read}, QUICK) as ring:
        assert await asyncio.to_thread(ring.refresh)
        with pytest.raises(MisconfiguredError, match="arefresh"):
            ring.refresh()


async def test_a_ring_with_a_thread_is_refreshed_from_an_event_loop_too() -> None:
    store = Plain()
    ring = await asyncio.to_thread(KeyRing({NAME: store.read}, QUICK).start)
    assert await ring.arefresh()
    await ring.aclose()
    assert not ring.running


def test_the_limit_holds_when_the_refresher_is_dead() -> None:
    """Or the process was stopped, or the machine asleep: time went by, and nobody was there to mark the key."""
    clock, store = Time(), Plain()
    hour = Freshness(max_staleness=timedelta(hours=1))
    with KeyRing({NAME: store.read}, hour, clock=clock.clock) as ring:
        background: Any = ring._engine._background
        background.stop(LIMIT)
        assert not ring.running
        clock.now += 3600
        assert ring.get(NAME)
        clock.now += 1
        with pytest.raises(StaleKeyError, match="3601 s ago"):
            ring.get(NAME)
        assert ring.stats()["keys"][NAME]["stale"]
        assert not ring.refresh()


async def test_from_keyturn_yaml_a_ring_has_the_names_that_exec_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = Shop().held.material
    store = MemoryStore({"litellm/providers": {NAME: key.reveal()}, "litellm/second": "x"})
    monkeypatch.setattr("keyturn.assembly.Adapters.store", lambda self, name: store)
    path = tmp_path / "keyturn.yaml"
    path.write_text(CONFIG)
    async with KeyRing.from_config(path, "local") as ring:
        assert dict(ring.credentials) == {NAME: "one", "SECOND_KEY": "two"}
        assert ring.get(NAME) == key.reveal()
    with pytest.raises(MisconfiguredError, match="use one of: local, other"):
        KeyRing.from_config(path)


def test_a_start_that_fails_leaves_no_thread() -> None:
    store = Plain()
    store.failure = DeniedError("not for us")
    with pytest.raises(DeniedError, match="not for us"):
        KeyRing({NAME: store.read}).start()
    store.failure = UnavailableError("down")
    with pytest.raises(UnavailableError, match="down"):
        KeyRing({NAME: store.read}, start_timeout=timedelta(milliseconds=10)).start()
    assert all("keyring" not in thread.name for thread in threading.enumerate())


def test_a_refresher_that_fails_as_a_whole_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    store, opened = Plain(), []

    @asynccontextmanager
    async def sources() -> Any:
        opened.append(1)
        yield [Variable("openai-prod", NAME, store.read, changed=None if len(opened) > 1 else _broken())]  # type: ignore[arg-type]

    async def hurry(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))

    with KeyRing(sources, QUICK, pause=hurry) as ring:
        new = store.shop.turn()
        until(lambda: ring.version(NAME) == new.version)
        assert len(opened) == 2
    assert "begins anew" in caplog.text


def _broken() -> Callable[[object], object]:
    """No coroutine function: a fault of the program's own."""
    return lambda since: object()


# Processes --------------------------------------------------------------------------------------------------------------


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


FORKED = """
    import os, time
    from datetime import timedelta
    from pathlib import Path
    from keyturn.delivery.keyring import Freshness, KeyRing
    from keyturn.material import KeyMaterial
    from keyturn.model import HeldKey, VersionRef

    path = Path({path!r})

    async def read():
        material = KeyMaterial(path.read_text())
        return HeldKey(VersionRef("file", material.fingerprint()), material)

    ring = KeyRing({{"KEY": read}}, Freshness(interval=timedelta(milliseconds=20), floor=timedelta(milliseconds=1))).start()
    assert ring.get("KEY") == "first"
    told = []
    ring.on_change(lambda name, version: told.append(name))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert ring.get("KEY") == "first"
            assert ring.running
            if os.fork() == 0:      # a child's child has its own as well
                path.with_suffix(".new").write_text("second")
                path.with_suffix(".new").rename(path)
                while ring.get("KEY") != "second":
                    time.sleep(0.01)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
            while ring.get("KEY") != "second":
                time.sleep(0.01)
            assert ring.refresh() and told == ["KEY"]
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    while ring.get("KEY") != "second":
        time.sleep(0.01)
    assert told == ["KEY"]
    print("refreshed in all three")
"""


def test_after_a_fork_parent_and_children_go_on_each_for_itself(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("first")
    done = run(FORKED.format(path=str(key)))
    assert (done.stdout, done.stderr) == ("refreshed in all three\n", "")


def test_a_ring_that_is_closed_or_was_never_opened_starts_no_thread_after_a_fork() -> None:
    done = run("""
        import os, threading
        from keyturn.delivery.keyring import KeyRing
        from keyturn.material import KeyMaterial
        from keyturn.model import HeldKey, VersionRef

        async def read():
            return HeldKey(VersionRef("1", "f"), KeyMaterial("x"))

        new = KeyRing({"KEY": read})
        with KeyRing({"KEY": read}) as closed:
            pass
        child = os.fork()
        if child == 0:
            os._exit(threading.active_count())
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_program_ends_at_once_while_a_store_hangs() -> None:
    """Nobody has closed the ring, and a thread of it waits for a store that will answer in an hour."""
    done = run("""
        import asyncio, threading, time
        from datetime import timedelta
        from keyturn.delivery.keyring import Freshness, KeyRing
        from keyturn.material import KeyMaterial
        from keyturn.model import HeldKey, VersionRef

        hangs = threading.Event()

        def blocking(first):
            if not first:
                hangs.set()
                time.sleep(3600)
            return HeldKey(VersionRef("1", "f"), KeyMaterial("x"))

        reads = []

        async def read():
            reads.append(1)
            return await asyncio.to_thread(blocking, len(reads) == 1)

        ring = KeyRing({"KEY": read}, Freshness(interval=timedelta(milliseconds=1), floor=timedelta(milliseconds=1))).start()
        hangs.wait()
        print("done")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_closing_does_not_wait_for_a_store_that_hangs() -> None:
    hangs, release = threading.Event(), threading.Event()
    held = Shop().held

    def blocking() -> HeldKey:
        hangs.set()
        release.wait(LIMIT)
        return held

    first = [True]

    async def read() -> HeldKey:
        if first.pop() if first else False:
            return held
        return await asyncio.to_thread(blocking)

    ring = KeyRing({NAME: read}, QUICK).start()
    hangs.wait(LIMIT)
    ring.close()
    assert not ring.running
    assert not release.is_set()
    with pytest.raises(MisconfiguredError, match="closed"):
        ring.get(NAME)
    release.set()


def test_importing_it_imports_nothing_heavy() -> None:
    done = run("import sys, keyturn.delivery.keyring, keyturn.delivery.keyring_litellm; print(*sys.modules)")
    heavy = {
        "prefect",
        "kubernetes",
        "hvac",
        "botocore",
        "boto3",
        "typer",
        "starlette",
        "httpx",
        "pydantic",
        "yaml",
        "litellm",
    }
    assert done.stdout
    assert not heavy & set(done.stdout.split())


def test_the_thread_can_be_stopped_twice_and_after_it_has_ended() -> None:
    async def nothing() -> None:
        """Ends at once."""

    background = Background(nothing, "keyturn-keyring-test")
    background.start()
    until(lambda: not background.alive)
    background.stop(LIMIT)
    background.stop(LIMIT)
