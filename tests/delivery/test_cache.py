"""The last known keys: encrypted, bound to what they are for, of a limited age, and for an unavailable store alone."""

from __future__ import annotations

import secrets
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.delivery import keys as delivery_keys
from keyturn.delivery.cache import KeyCache
from keyturn.delivery.keys import KeyReader
from keyturn.errors import (
    ConflictError,
    DeniedError,
    IndeterminateError,
    KeyturnError,
    MisconfiguredError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
)
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, VersionRef
from tests.delivery.supervised import Clock, Shelf, new_key, supervised
from tests.hostile import everything_said, tells

real = pytest.mark.real

PLACE = ["local", "openai-prod", "OPENAI_API_KEY", "vault_kv2|http://127.0.0.1:8200|secret"]


class Wall:
    """The wall clock, in the test's hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


SECRET = KeyMaterial(secrets.token_hex(32))


def cache(path: Path, wall: Wall, secret: KeyMaterial = SECRET, place: list[str] = PLACE, hours: int = 24) -> KeyCache:
    return KeyCache(path, secret, place, timedelta(hours=hours), wall)


def held(material: KeyMaterial) -> HeldKey:
    return HeldKey(VersionRef("v1", material.fingerprint()), material)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "cache"


def test_what_is_kept_is_found_again_and_the_file_tells_nothing(file: Path) -> None:
    wall, key = Wall(), new_key()
    cache(file, wall).keep({"openai-prod": held(key)})
    wall.now += 3600
    found = cache(file, wall).find("openai-prod")
    assert (found.held.material, found.held.version.id, found.read.timestamp()) == (key, "v1", wall.now - 3600)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = file.read_bytes()
    plain = key.reveal().encode()
    assert not any(plain[at : at + 8] in content for at in range(len(plain) - 8))
    assert b"openai" not in content
    cache(file, wall).keep({"openai-prod": held(key)})
    assert file.read_bytes()[:44] != content[:44], "each file has a salt and a nonce of its own"


def test_another_secret_proxy_or_place_reads_nothing(file: Path) -> None:
    wall = Wall()
    cache(file, wall).keep({"openai-prod": held(new_key())})
    others = [
        cache(file, wall, KeyMaterial(secrets.token_hex(32))),
        cache(file, wall, place=["other", *PLACE[1:]]),
        cache(file, wall, place=[*PLACE[:3], "vault_kv2|http://127.0.0.1:8201|secret"]),
        cache(file, wall, place=[*PLACE[:2], "ANOTHER_KEY", PLACE[3]]),
    ]
    for other in others:
        with pytest.raises(MisconfiguredError, match="was changed, or made with another secret"):
            other.find("openai-prod")


def test_a_changed_file_is_refused_wherever_it_was_changed(file: Path) -> None:
    wall = Wall()
    cache(file, wall).keep({"openai-prod": held(new_key())})
    good = file.read_bytes()
    for at in range(len(good)):
        file.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(MisconfiguredError):
            cache(file, wall).find("openai-prod")
    for cut in (b"", good[:20], good[:44], good[:-1], good + b"x", b"x" * 100):
        file.write_bytes(cut)
        with pytest.raises(MisconfiguredError):
            cache(file, wall).find("openai-prod")
    file.write_bytes(good)
    assert cache(file, wall).find("openai-prod")


def test_an_old_key_and_one_from_the_future_are_refused(file: Path) -> None:
    wall = Wall()
    cache(file, wall).keep({"openai-prod": held(new_key())})
    wall.now += 24 * 3600
    assert cache(file, wall).find("openai-prod")
    wall.now += 1
    with pytest.raises(MisconfiguredError, match="longer than 1d"):
        cache(file, wall).find("openai-prod")
    wall.now -= 24 * 3600 + 400
    with pytest.raises(MisconfiguredError, match="from the future"):
        cache(file, wall).find("openai-prod")


def test_each_key_has_its_own_age(file: Path) -> None:
    """One that was not read again is not made younger by others that were."""
    wall = Wall()
    cache(file, wall).keep({"a": held(new_key()), "b": held(new_key())})
    wall.now += 20 * 3600
    cache(file, wall).keep({"a": held(new_key())})
    wall.now += 5 * 3600
    assert cache(file, wall).find("a")
    with pytest.raises(MisconfiguredError, match="longer than"):
        cache(file, wall).find("b")
    with pytest.raises(MisconfiguredError, match="no key of c"):
        cache(file, wall).find("c")


def test_a_short_secret_and_a_missing_folder_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredError, match="openssl rand"):
        cache(tmp_path / "cache", Wall(), KeyMaterial(secrets.token_hex(15)))
    with pytest.raises(MisconfiguredError, match="folder"):
        cache(tmp_path / "no" / "cache", Wall())


def test_a_file_that_cannot_be_written_stops_nothing(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.mkdir()
    key = new_key()
    cache(file, Wall()).keep({"openai-prod": held(key)})
    assert "the cache cannot be written" in caplog.text and not tells(caplog.text, key.reveal())


# When it is used --------------------------------------------------------------------------------------------------------


def reader(shelf: Shelf, file: Path, wall: Wall) -> KeyReader:
    return KeyReader([shelf.variable(name, name.upper()) for name in shelf.held], Clock().pause, cache(file, wall))


def for_ever(error: KeyturnError) -> list[Exception]:
    return [error] * 50


AT_ONCE = timedelta(0)


async def test_a_store_that_is_unavailable_is_replaced_by_what_it_told_last(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shelf, wall = Shelf("a", "b"), Wall()
    before = await reader(shelf, file, wall).first(AT_ONCE, lambda words: None)
    wall.now += 7200
    for error in (UnavailableError("sealed"), ThrottledError("slowly"), IndeterminateError("lost")):
        caplog.clear()
        shelf.failing["a"] = for_ever(error)
        fresh = shelf.turn("b")
        later = reader(shelf, file, wall)
        keys = await later.first(AT_ONCE, lambda words: None)
        assert keys["a"].material == before["a"].material
        assert keys["b"].version == fresh, "what can be read is read"
        assert {name: read.timestamp() for name, read in later.cached(keys).items()} == {"a": wall.now - 7200}
        assert "THE STORE OF a IS UNAVAILABLE" in caplog.text and "2h ago" in caplog.text
        assert not any(tells(caplog.text, key.reveal()) for key in shelf.seen)


@pytest.mark.parametrize("kind", [DeniedError, NotFoundError, ConflictError, MisconfiguredError])
async def test_a_store_that_says_no_is_believed(kind: type[KeyturnError], file: Path) -> None:
    shelf, wall = Shelf("a", "b"), Wall()
    await reader(shelf, file, wall).first(AT_ONCE, lambda words: None)
    shelf.failing["a"] = [kind("no")]
    with pytest.raises(kind, match="no"):
        await reader(shelf, file, wall).first(AT_ONCE, lambda words: None)


async def test_without_a_usable_cache_the_stores_error_is_told_and_why(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    shelf, wall = Shelf("a"), Wall()
    for words in ("there is no cache yet", "longer than"):
        shelf.failing["a"] = for_ever(UnavailableError("sealed"))
        with pytest.raises(UnavailableError, match="sealed") as caught:
            await reader(shelf, file, wall).first(AT_ONCE, lambda words: None)
        assert words in caplog.text
        assert not any(tells(everything_said(caught.value), key.reveal()) for key in shelf.seen)
        shelf.failing["a"] = []
        await reader(shelf, file, wall).first(AT_ONCE, lambda words: None)
        wall.now += 25 * 3600


async def test_a_roll_reads_the_store_alone_and_keeps_what_it_read(file: Path) -> None:
    shelf, wall = Shelf("a"), Wall()
    await reader(shelf, file, wall).first(AT_ONCE, lambda words: None)
    old = shelf.version("a")
    shelf.failing["a"] = for_ever(UnavailableError("sealed"))
    later = reader(shelf, file, wall)
    keys = await later.first(AT_ONCE, lambda words: None)
    with pytest.raises(UnavailableError):
        await later.expecting("a", old.fingerprint, keys)
    shelf.failing["a"] = []
    wanted = shelf.turn("a")
    rolled = await later.expecting("a", wanted.fingerprint, keys)
    assert (rolled["a"].version, later.cached(rolled)) == (wanted, {})
    assert cache(file, wall).find("a").held.version == wanted
    assert set(later.cached(keys)) == {"a"}, "the old one, should it be started again, is still out of the cache"


async def test_what_comes_from_the_cache_is_not_made_younger_by_a_restart(file: Path) -> None:
    shelf, wall = Shelf("a", "b"), Wall()
    await reader(shelf, file, wall).first(AT_ONCE, lambda words: None)
    for _ in range(3):
        wall.now += 9 * 3600
        shelf.failing["a"] = for_ever(UnavailableError("sealed"))
        if wall.now - 1_800_000_000 <= 24 * 3600:
            assert set(await reader(shelf, file, wall).first(AT_ONCE, lambda words: None)) == {"a", "b"}
        else:
            with pytest.raises(UnavailableError):
                await reader(shelf, file, wall).first(AT_ONCE, lambda words: None)


@real
async def test_the_supervisor_says_that_it_serves_from_the_cache_until_the_store_tells_another(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_keys, "_PATIENCE_WITH_CACHE", AT_ONCE)
    shelf, wall = Shelf("openai-prod"), Wall()
    names = {"openai-prod": "OPENAI_API_KEY"}
    await KeyReader([shelf.variable("openai-prod", "X")], Clock().pause, cache(file, wall)).first(AT_ONCE, lambda _: None)
    shelf.failing["openai-prod"] = for_ever(UnavailableError("sealed"))
    async with supervised(shelf=shelf, names=names, cache=cache(file, wall)) as member:
        status = (await member.status()).json()
        assert status["cached"] == {"openai-prod": "2027-01-15T08:00:00+00:00"}
        assert (await member.ask())["loaded"]["OPENAI_API_KEY"] == shelf.version("openai-prod").fingerprint
        shelf.failing["openai-prod"] = []
        wanted = shelf.turn("openai-prod")
        assert (await member.roll(wanted.fingerprint)).status_code == 202
        status = await member.at_rest()
        assert (status["state"], status["cached"]) == ("serving", {})
