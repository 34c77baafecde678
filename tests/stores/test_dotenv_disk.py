"""The disk under the store of files: what it keeps, what it refuses, and what is left when it fails at any step."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyturn.errors import KeyturnError, MisconfiguredError
from keyturn.model import Stage
from keyturn.stores import replaceable, safe_file
from keyturn.stores.dotenv_text import value_of
from keyturn.testing.store_scene import Place, new_key, new_token, refused
from tests.stores.test_dotenv_file import PLAIN, ROOT_USER, file_of, make_store, place, rotated
from tests.test_house import ROOT

__all__ = ["place"]  # the fixture
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
as_root = pytest.mark.skipif(not ROOT_USER, reason="it takes the superuser to arrange this")


def beside(tmp_path: Path) -> Path:
    return tmp_path / "llm" / "..env.keyturn"


def access_list(group_permissions: int, user: int) -> bytes:
    """One user more, who may read. As the kernel has it: tag, permissions, id."""
    nobody = 0xFFFFFFFF
    entries = [(1, 6, nobody), (2, 4, user), (4, group_permissions, nobody), (16, 4, nobody), (32, 0, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def with_attribute(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError:
        pytest.skip("this file system has no such attributes")


# What is kept -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [("user.note", b"mine"), (ACCESS, access_list(4, 12345))])
async def test_attributes_and_the_access_list_stay(name: str, value: bytes, place: Place, tmp_path: Path) -> None:
    """Else who was let in by the list alone could not read the new key."""
    with_attribute(file_of(place, tmp_path), name, value)
    before = os.getxattr(file_of(place, tmp_path), name)
    await rotated(place)
    assert os.getxattr(file_of(place, tmp_path), name) == before
    assert file_of(place, tmp_path).stat().st_mode & 0o777 == 0o640


async def test_the_access_list_of_the_folder_lets_nobody_else_in(place: Place, tmp_path: Path) -> None:
    with_attribute(tmp_path / "llm", DEFAULT, access_list(4, 12345))
    await rotated(place)
    assert ACCESS not in os.listxattr(file_of(place, tmp_path))


@as_root
async def test_owner_and_group_stay(place: Place, tmp_path: Path) -> None:
    """Also in a folder that gives its group to new files."""
    os.chown(tmp_path / "llm", 0, 4242)
    (tmp_path / "llm").chmod(0o2755)
    for owner in ((0, 0), (1234, 2345)):
        os.chown(file_of(place, tmp_path), *owner)
        await rotated(place)
        status = file_of(place, tmp_path).stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (*owner, 0o640)


async def test_an_attribute_that_cannot_be_kept_stops_it(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_attribute(file_of(place, tmp_path), "user.note", b"mine")
    fails_at(monkeypatch, lambda name: name == "setxattr", errno.EPERM)
    with pytest.raises(KeyturnError):
        await rotated(place)
    assert file_of(place, tmp_path).read_bytes() == PLAIN.format(place.value.reveal()).encode()


# What is refused --------------------------------------------------------------------------------------------------------


def hard_link(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.with_name("other").hardlink_to(path)


def mount(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(path).replace("\\", "\\134").replace(" ", "\\040")
    monkeypatch.setattr(replaceable, "_MOUNTS", path.with_name("mounts"))
    path.with_name("mounts").write_text(f"22 1 254:0 / / rw - ext4 /dev/x rw\n23 22 254:0 /a {place} rw - ext4 /dev/x rw\n")


def fixed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.stores.replaceable.fcntl.ioctl", lambda file, number, argument: struct.pack("<Q", 0x80010))


def another_owner(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.stores.replaceable.os.geteuid", lambda: path.stat().st_uid + 1)


@pytest.mark.parametrize(
    ("arrange", "told"),
    [(hard_link, "hard link"), (mount, "mounted"), (fixed, "immutable"), (another_owner, "another user")],
)
async def test_what_cannot_be_replaced_is_refused_before_a_key_is_made(
    arrange: Callable[[Path, pytest.MonkeyPatch], None],
    told: str,
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrange(file_of(place, tmp_path), monkeypatch)
    findings = await place.store.preflight(place.secret)
    (bad,) = [finding for finding in findings if finding.ok is False]
    assert told in bad.detail
    assert bad.remedy
    await refused(place.store.stage(place.secret, new_key(), new_token()), MisconfiguredError, place.value)
    assert not beside(tmp_path).exists()
    assert (await place.store.current(place.secret)).material == place.value  # readers are not concerned


async def test_a_hard_link_made_after_the_stage_is_not_split(place: Place, tmp_path: Path) -> None:
    old, staged = (await place.store.current(place.secret)).version, new_key()
    version = await place.store.stage(place.secret, staged, new_token())
    main = await place.store._documents.main(place.secret)  # type: ignore[attr-defined]
    (tmp_path / "other").hardlink_to(file_of(place, tmp_path))
    await refused(place.store.promote(place.secret, version, old), MisconfiguredError, staged)
    documents = place.store._documents  # type: ignore[attr-defined]
    await refused(documents.write_main(place.secret, main, staged), MisconfiguredError, staged)
    assert (tmp_path / "other").samefile(file_of(place, tmp_path))


@as_root
def test_a_file_that_is_mounted_by_itself_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a file"
    path.touch()
    look = (
        f"import sys, pathlib; from keyturn.stores.replaceable import obstacle; print(obstacle(pathlib.Path({str(path)!r})))"
    )
    script = 'mount --bind "$1" "$1" && shift && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(path), sys.executable, "-c", look]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip("nothing can be mounted here")
    assert "mounted by itself" in told.stdout
    assert replaceable.obstacle(path) is None


@as_root
def test_a_file_that_is_immutable_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    if subprocess.run(["chattr", "+i", str(path)], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no such flag")
    try:
        found = replaceable.obstacle(path)
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)
    assert found is not None
    assert "immutable" in found[0]
    assert replaceable.obstacle(path) is None


@pytest.mark.parametrize("kind", ["open", "link", "file", pytest.param("of another", marks=as_root)])
async def test_a_folder_beside_that_is_not_ours_alone_is_refused(kind: str, place: Place, tmp_path: Path) -> None:
    folder, elsewhere = beside(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if kind == "link":
        folder.symlink_to(elsewhere)
    elif kind == "file":
        folder.touch(mode=0o700)
    else:
        folder.mkdir(mode=0o700)
        folder.chmod(0o755 if kind == "open" else 0o700)
    if kind == "of another":
        os.chown(folder, 1234, 1234)
    await refused(place.store.stage(place.secret, new_key(), new_token()), MisconfiguredError, place.value)
    await refused(place.store.annotate(place.secret, {"a": "b"}), MisconfiguredError)
    assert not list(elsewhere.iterdir())
    assert kind == "file" or not list(folder.iterdir())


async def test_what_is_no_file_is_refused_and_not_waited_for(place: Place, tmp_path: Path) -> None:
    file_of(place, tmp_path).unlink()
    os.mkfifo(file_of(place, tmp_path))
    look = asyncio.ensure_future(refused(place.store.current(place.secret), MisconfiguredError))
    await asyncio.wait({look}, timeout=30)
    waited = not look.done()
    os.close(os.open(file_of(place, tmp_path), os.O_RDWR))  # whoever waits goes on
    await look
    assert not waited


# A disk that fails ------------------------------------------------------------------------------------------------------

CHANGES = (
    "open",
    "write",
    "fchmod",
    "fchown",
    "utime",
    "fsync",
    "setxattr",
    "removexattr",
    "listxattr",
    "getxattr",
    "fstat",
)


class FailingSystem:
    """`os` as safe_file has it. Each call of `CHANGES` is told to `step`, which may raise."""

    def __init__(self, step: Callable[[str], None]) -> None:
        self._step = step

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CHANGES:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self._step(name)
            return real(*args, **kwargs)

        return call


def fails_at(monkeypatch: pytest.MonkeyPatch, is_time: Callable[[str], bool], number: int = errno.ENOSPC) -> None:
    def step(name: str) -> None:
        if is_time(name):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(safe_file, "os", FailingSystem(step))
    monkeypatch.setattr(safe_file, "effect", step)


async def stages(place: Place, tmp_path: Path) -> dict[Stage, str]:
    return {stage: version.fingerprint for stage, version in (await make_store(tmp_path).stages(place.secret)).items()}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
async def test_a_disk_that_fails_at_any_step_leaves_a_store_that_is_whole(
    number: int, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that touches the disk fails once, and the rotation is done after it all the same."""
    current, seen = place.value, set()
    for nth in range(1, 300):
        shutil.rmtree(beside(tmp_path), ignore_errors=True)  # so that it is made anew each time
        key, token, count = new_key(), new_token(), 0
        old = (await place.store.current(place.secret)).version

        def is_time(name: str, nth: int = nth) -> bool:
            nonlocal count
            count += 1
            if count == nth:
                seen.add(name)
            return count == nth

        with monkeypatch.context() as failing:
            fails_at(failing, is_time, number)
            try:
                await place.store.promote(place.secret, await place.store.stage(place.secret, key, token), old)
            except KeyturnError as error:
                assert error.remedy
                assert not any(each.reveal() in str(error) for each in (key, current))
                assert error.__context__ is None
        held = value_of(file_of(place, tmp_path).read_bytes().decode(), "OPENAI_API_KEY")
        assert held in (current.reveal(), key.reveal())
        assert file_of(place, tmp_path).read_bytes() == PLAIN.format(held).encode()
        assert (await stages(place, tmp_path))[Stage.CURRENT] in (old.fingerprint, key.fingerprint())
        assert not beside(tmp_path).exists() or not (beside(tmp_path) / "scratch").exists(), "key text was left over"
        await place.store.promote(place.secret, await place.store.stage(place.secret, key, token), old)
        assert await stages(place, tmp_path) == {Stage.CURRENT: key.fingerprint(), Stage.PREVIOUS: old.fingerprint}
        current = key
        if count < nth:
            assert {"open", "write", "fchmod", "utime", "fsync", "fill", "dress", "rename", "sync", "mkdir", "lock"} <= seen
            return
    raise AssertionError("it never ends")


async def test_a_write_that_is_cut_short_goes_on(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr("keyturn.stores.safe_file.os.write", lambda file, data: real(file, data[:7]))
    new = await rotated(place)
    assert file_of(place, tmp_path).read_bytes() == PLAIN.format(new).encode()


async def test_what_is_being_written_is_read_by_nobody(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by mode nor under another name that a scratch left over by a death was given."""
    await place.store.stage(place.secret, new_key(), new_token())
    file_of(place, tmp_path).chmod(0o644)
    scratch, modes = beside(tmp_path) / "scratch", set()
    scratch.write_text("left over")
    scratch.chmod(0o666)
    (tmp_path / "other").hardlink_to(scratch)

    def effect(name: str) -> None:
        assert stat.S_IMODE(beside(tmp_path).stat().st_mode) == 0o700
        if name in ("fill", "dress"):
            modes.add(stat.S_IMODE(scratch.stat().st_mode))

    monkeypatch.setattr(safe_file, "effect", effect)
    await rotated(place)
    assert modes == {0o600}
    assert (tmp_path / "other").read_text() == "left over"
    assert not scratch.exists()


async def test_a_lock_that_was_removed_locks_nobody_out_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two would each hold one of two files of that name."""
    path, opened = tmp_path / "lock", []
    real = os.open

    def open_it(*args: Any, **kwargs: Any) -> int:
        file = real(*args, **kwargs)
        opened.append(file)
        if len(opened) == 1:
            path.unlink()
        return file

    monkeypatch.setattr("keyturn.stores.safe_file.os.open", open_it)
    with safe_file.locked(path, 5):
        assert len(opened) == 2
        assert os.path.samestat(os.fstat(opened[1]), path.stat())
