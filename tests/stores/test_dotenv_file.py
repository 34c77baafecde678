"""The store of files: the promises of every store, and those of a file that others read and write."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.errors import ConflictError, DeniedError, KeyturnError, MisconfiguredError, NotFoundError, UnavailableError
from keyturn.model import SecretRef, Stage
from keyturn.ports import SecretStore
from keyturn.references import resolver
from keyturn.stores import safe_file
from keyturn.stores.dotenv_file import DotenvFile
from keyturn.stores.dotenv_text import value_of
from keyturn.testing.store_scene import HOSTILE, OTHER_FIELDS, Place, Shape, new_key, new_token, refused
from keyturn.testing.store_suite import StoreSuite

ROOT_USER = os.geteuid() == 0
PLAIN = "# the keys\nexport OTHER='untouched'\r\nOPENAI_API_KEY={}\n# behind\nLAST=1"
SECRET = SecretRef("dotenv", "llm/.env", "OPENAI_API_KEY")


def make_store(folder: Path, **settings: Any) -> DotenvFile:
    return DotenvFile(DotenvFile.Settings.model_validate({"folder": folder, **settings}), resolver(environ={}))


class TestDotenvFile(StoreSuite):
    """Bundles here are files whose other values are text, as all are in such files."""

    root: Path

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.root = tmp_path

    async def make_store(self) -> SecretStore:
        return make_store(self.root)

    def _path(self, path: str) -> Path:
        found = self.root / path
        found.parent.mkdir(parents=True, exist_ok=True)
        return found

    async def write_whole(self, path: str, text: str) -> None:
        await asyncio.to_thread(_save, self._path(path), text.encode())

    async def read_whole(self, path: str) -> str:
        return self._path(path).read_bytes().decode()

    async def write_bundle(self, path: str, fields: Mapping[str, Any]) -> None:
        """As JSON in single quotes, where that is possible: other variables may be anything."""
        lines = [f"{name}={_quoted(value)}\n" for name, value in fields.items()]
        await asyncio.to_thread(_save, self._path(path), "".join(lines).encode(errors="surrogateescape"))

    async def read_bundle(self, path: str) -> dict[str, Any]:
        text = self._path(path).read_bytes().decode(errors="surrogateescape")
        found = {name: value for name, _, value in (line.partition("=") for line in text.split("\n")[:-1])}
        return {
            name: value_of(text, name) if name == "OPENAI_API_KEY" else value.strip("'") for name, value in found.items()
        }

    async def set_field(self, path: str, field: str, value: Any) -> None:
        """A person who takes our lock: one who does not may lose what is written in the same instant."""
        target = self._path(path)

        def write() -> None:
            beside = target.with_name(f".{target.name}.keyturn")
            beside.mkdir(mode=0o700, exist_ok=True)
            with safe_file.locked(beside / "lock", 10):
                text = target.read_bytes().decode()
                others = [line for line in text.splitlines(keepends=True) if not line.startswith(f"{field}=")]
                _save(target, "".join([*others, f"{field}={_quoted(value)}\n"]).encode())

        await asyncio.to_thread(write)

    @pytest.mark.parametrize("kind", HOSTILE)
    async def test_key_text_arrives_byte_for_byte(self, place: Place, kind: str) -> None:
        """A file of variables carries what all its readers take alike; anything else is refused before it is staged."""
        from keyturn.material import KeyMaterial

        text = secrets.token_hex(8) + HOSTILE[kind] + secrets.token_hex(2)
        if place.secret.field is None or text.isalnum():
            return await super().test_key_text_arrives_byte_for_byte(place, kind)
        key = KeyMaterial(text)
        await refused(place.store.stage(place.secret, key, new_token()), MisconfiguredError, key)
        assert set(await place.store.stages(place.secret)) == {Stage.CURRENT}
        return None


def _save(path: Path, content: bytes) -> None:
    """As an editor does it: a new file in the place of the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    scratch.write_bytes(content)
    scratch.chmod(0o600)
    scratch.replace(path)


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text.translate({39: None, 13: None, 10: ' '})}'"


# Files ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Place:
    key = new_key()
    (tmp_path / "llm").mkdir()
    path = tmp_path / SECRET.path
    path.write_bytes(PLAIN.format(key.reveal()).encode())
    path.chmod(0o640)
    return Place(make_store(tmp_path), SECRET, key)


def file_of(place: Place, tmp_path: Path) -> Path:
    return tmp_path / place.secret.path


async def rotated(place: Place) -> str:
    old = (await place.store.current(place.secret)).version
    key = new_key()
    await place.store.promote(place.secret, await place.store.stage(place.secret, key, new_token()), old)
    return key.reveal()


async def test_a_rotation_leaves_every_other_byte_and_the_mode(place: Place, tmp_path: Path) -> None:
    new = await rotated(place)
    path = file_of(place, tmp_path)
    assert path.read_bytes() == PLAIN.format(new).encode()
    assert path.stat().st_mode & 0o777 == 0o640


async def test_bytes_that_are_no_text_stay(place: Place, tmp_path: Path) -> None:
    path = file_of(place, tmp_path)
    path.write_bytes(b"B='\xff\xfe'\n" + path.read_bytes())
    new = await rotated(place)
    assert path.read_bytes() == b"B='\xff\xfe'\n" + PLAIN.format(new).encode()


async def test_what_is_not_served_is_its_owners_alone(place: Place, tmp_path: Path) -> None:
    await place.store.stage(place.secret, new_key(), new_token())
    await place.store.annotate(place.secret, {"a": "b"})
    beside = tmp_path / "llm" / "..env.keyturn"
    assert beside.stat().st_mode & 0o777 == 0o700
    assert all(each.stat().st_mode & 0o077 == 0 for each in beside.iterdir())


async def test_a_newline_behind_a_whole_key_stays(tmp_path: Path) -> None:
    store, secret, key = make_store(tmp_path), SecretRef("dotenv", "key"), new_key()
    (tmp_path / "key").write_text(key.reveal() + "\n")
    new = await rotated(Place(store, secret, key))
    assert (tmp_path / "key").read_text() == new + "\n"


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a//b", "a/./b", "a/", ".x.keyturn"])
async def test_a_path_that_leads_elsewhere_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredError):
        await make_store(tmp_path).current(SecretRef("dotenv", path, "A"))


async def test_links_are_refused(place: Place, tmp_path: Path) -> None:
    path = file_of(place, tmp_path)
    (tmp_path / "llm" / "link").symlink_to(path)
    (tmp_path / "elsewhere").symlink_to(tmp_path / "llm")
    for name in ("llm/link", "elsewhere/.env"):
        with pytest.raises(MisconfiguredError):
            await place.store.current(SecretRef("dotenv", name, "OPENAI_API_KEY"))


@pytest.mark.parametrize("settings", [{"folder": "here"}, {}, {"folder": "/x", "other": 1}])
def test_settings_that_cannot_be_meant(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DotenvFile.Settings.model_validate(settings)


async def test_what_is_open_to_everybody_is_told(place: Place, tmp_path: Path) -> None:
    assert all(finding.ok for finding in await place.store.preflight(place.secret))
    file_of(place, tmp_path).chmod(0o644)
    (tmp_path / "llm").chmod(0o777)
    told = {finding.ok: finding.remedy for finding in await place.store.preflight(place.secret) if not finding.ok}
    assert set(told) == {None, False}
    assert told[None].startswith("chmod o-r")
    assert told[False].startswith("chmod o-w")


async def test_a_document_of_somebody_else_is_told_and_not_quoted(place: Place, tmp_path: Path) -> None:
    await place.store.stage(place.secret, new_key(), new_token())
    for name in ("OPENAI_API_KEY.staged.json", "OPENAI_API_KEY.notes.json"):
        path = tmp_path / "llm" / "..env.keyturn" / name
        path.write_text(json.dumps({"pending": place.value.reveal(), "x": 1}))
        call = place.store.stages(place.secret) if "staged" in name else place.store.annotations(place.secret)
        await refused(call, MisconfiguredError, place.value)
        path.unlink()


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, UnavailableError),
        (errno.EIO, UnavailableError),
        (errno.EROFS, DeniedError),
        (errno.EACCES, DeniedError),
        (errno.EBUSY, MisconfiguredError),  # a file that is mounted by itself
    ],
)
async def test_what_the_system_refuses_is_told_in_words(
    number: int, error: type[KeyturnError], place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(name: str) -> None:
        raise OSError(number, os.strerror(number))

    before = file_of(place, tmp_path).read_bytes()
    monkeypatch.setattr(safe_file, "effect", fails)
    raised = await refused(place.store.stage(place.secret, new_key(), new_token()), error, place.value)
    assert raised.remedy
    assert file_of(place, tmp_path).read_bytes() == before


async def test_who_holds_the_lock_for_long_is_told_of(place: Place, tmp_path: Path) -> None:
    await place.store.stage(place.secret, new_key(), new_token())
    with (tmp_path / "llm" / "..env.keyturn" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        store = make_store(tmp_path, lock_timeout=timedelta(seconds=0.1))
        with pytest.raises(UnavailableError, match="held the lock"):
            await store.stage(place.secret, new_key(), new_token())
        assert (await store.current(place.secret)).material == place.value  # readers need none
    await store.stage(place.secret, new_key(), new_token())


async def test_two_writes_in_the_same_instant_have_two_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a promote could take the place of what came and went meanwhile."""
    monkeypatch.setattr("keyturn.stores.safe_file.time.time_ns", lambda: 1_700_000_000_000_000_000)
    path, numbers = tmp_path / "x", []
    for _ in range(20):
        numbers.append(safe_file.replace(path, safe_file.read(path), b"the same", tmp_path / "scratch"))
    assert len(set(numbers)) == 20


# Deaths -----------------------------------------------------------------------------------------------------------------


class DiedError(Exception):
    """The process is gone."""


@pytest.fixture
def dies_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], list[str]]]:
    """From the nth effect on nothing reaches the disk any more. Gives the list that the effects are told in."""

    def arrange(nth: int) -> list[str]:
        seen: list[str] = []

        def effect(name: str) -> None:
            seen.append(name)
            if len(seen) > nth:
                raise DiedError

        monkeypatch.setattr(safe_file, "effect", effect)
        return seen

    yield arrange
    monkeypatch.undo()


async def act(place: Place, verb: str, key: Any, token: str, old: Any) -> None:
    """One verb of a rotation, in the order of one."""
    store, secret = place.store, place.secret
    staged = await store.stage(secret, key, token)
    if verb == "promote":
        await store.promote(secret, staged, old)
    elif verb == "bar":
        await store.bar(secret, staged)
    elif verb == "discard":
        await store.discard(secret, staged)
    elif verb == "annotate":
        await store.annotate(secret, {"key_a": "b"})


@pytest.mark.parametrize("verb", ["stage", "promote", "bar", "discard", "annotate"])
async def test_a_death_before_any_effect_leaves_a_store_that_is_whole(
    verb: str, place: Place, tmp_path: Path, dies_at: Callable[[int], list[str]]
) -> None:
    old = (await place.store.current(place.secret)).version
    for nth in range(40):
        key, token = new_key(), new_token()
        effects = dies_at(nth)
        try:
            await act(place, verb, key, token, old)
            died = False
        except DiedError:
            died = True
        dies_at(10_000)
        # A person, and whoever comes next, find one of the two values, and a file that reads as it did.
        text = file_of(place, tmp_path).read_bytes().decode()
        held = value_of(text, "OPENAI_API_KEY")
        assert held in (place.value.reveal(), key.reveal())
        assert text == PLAIN.format(held)
        stages = await make_store(tmp_path).stages(place.secret)
        assert stages[Stage.CURRENT].fingerprint in (old.fingerprint, key.fingerprint())
        try:
            await act(place, verb, key, token, old)
        except ConflictError:
            assert verb == "discard"  # it was discarded already: the token is spent
        stages = await make_store(tmp_path).stages(place.secret)
        wanted = key.fingerprint() if verb == "promote" else old.fingerprint
        assert stages[Stage.CURRENT].fingerprint == wanted
        assert (Stage.PENDING in stages) is (verb in ("stage", "bar", "annotate"))
        if not died:
            assert len(effects) == nth  # every effect was tried
            return
        if verb == "promote":
            await place.store.promote(place.secret, old, stages[Stage.CURRENT])
    raise AssertionError("it never ends")


@pytest.mark.skipif(ROOT_USER, reason="the superuser may write everywhere")
async def test_a_folder_that_may_not_be_written_is_denied(place: Place, tmp_path: Path) -> None:
    (tmp_path / "llm").chmod(0o500)
    try:
        await refused(place.store.stage(place.secret, new_key(), new_token()), DeniedError, place.value)
    finally:
        (tmp_path / "llm").chmod(0o700)


async def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await make_store(tmp_path / "none").current(SecretRef("dotenv", "x"))


def test_the_shapes_are_all_there() -> None:
    assert TestDotenvFile.shapes == tuple(Shape)
    assert OTHER_FIELDS
