"""Keys in files that the program reads at each request: how they are written, and a member that is rolled by them."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyturn.delivery import file_readers
from keyturn.delivery.key_files import ALLOWED_FOLDERS, KeyFiles
from keyturn.errors import MisconfiguredError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.testing.loopback import LoopbackServer
from tests.delivery.supervised import Supervised, new_key, supervised
from tests.delivery.test_supervisor import traces
from tests.fleets.test_process import fleet_of, only

real = pytest.mark.real


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# The files --------------------------------------------------------------------------------------------------------------


def test_a_key_is_put_as_a_whole_for_this_user_alone_without_a_newline(tmp_path: Path) -> None:
    files, keys = KeyFiles(tmp_path / "keys"), [new_key(), new_key()]
    files.prepare()
    seen = []
    for key in keys:
        files.put("OPENAI_API_KEY", key)
        (path,) = files.folder.iterdir()
        assert (path.name, path.read_text(), mode(path)) == ("OPENAI_API_KEY", key.reveal(), 0o600)
        seen.append(path.stat().st_ino)
    assert mode(files.folder) == 0o700
    assert seen[0] != seen[1], "a reader that has it open goes on with the old one"
    files.remove()
    assert list(files.folder.iterdir()) == []


def test_a_key_that_cannot_be_written_leaves_the_old_one_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, old, new = KeyFiles(tmp_path / "keys"), new_key(), new_key()
    files.prepare()
    files.put("OPENAI_API_KEY", old)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UnavailableError, match="OPENAI_API_KEY cannot be written: No space left") as caught:
        files.put("OPENAI_API_KEY", new)
    assert traces(f"{caught.value!r} {caught.value.__context__!r}", [new]) == []
    assert [(path.name, path.read_text()) for path in files.folder.iterdir()] == [("OPENAI_API_KEY", old.reveal())]


def test_a_folder_is_one_supervisors_and_nobody_elses(tmp_path: Path) -> None:
    first = KeyFiles(tmp_path / "keys")
    first.prepare()
    with pytest.raises(MisconfiguredError, match="another `keyturn exec` keeps its keys"):
        KeyFiles(tmp_path / "keys").prepare()
    (first.folder / ".keyturn-draft").write_text("of one that was killed")
    first.remove()
    KeyFiles(tmp_path / "keys").prepare()
    assert list(first.folder.iterdir()) == []

    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(MisconfiguredError, match="not for this user alone"):
        KeyFiles(tmp_path / "open").prepare()
    with pytest.raises(MisconfiguredError, match="cannot be used for keys: No such file"):
        KeyFiles(tmp_path / "no" / "parent").prepare()
    (tmp_path / "file").touch()
    with pytest.raises(MisconfiguredError, match="cannot be used for keys: File exists"):
        KeyFiles(tmp_path / "file").prepare()


@pytest.mark.parametrize("folder", ["relative/keys", "/run/a,b", "/run/keys "])
def test_a_folder_that_litellm_could_not_be_told_of_is_refused(folder: str) -> None:
    with pytest.raises(MisconfiguredError, match="absolute path without a comma"):
        KeyFiles(Path(folder))


def test_the_program_has_the_folder_and_no_key(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path / "keys")
    stale = {"OPENAI_API_KEY": "stale", "HOME": "/nowhere"}
    assert files.environment(stale, ["OPENAI_API_KEY"]) == {"HOME": "/nowhere", ALLOWED_FOLDERS: str(files.folder)}
    more = files.environment({ALLOWED_FOLDERS: "/run/identity"}, [])
    assert more == {ALLOWED_FOLDERS: f"{files.folder},/run/identity"}


# A member ---------------------------------------------------------------------------------------------------------------

NAMES = {"openai-prod": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}


def by_file(folder: Path, **settings: Any) -> Any:
    options = ("--keys", folder, "--env", "OPENAI_API_KEY", "--env", "GEMINI_API_KEY")
    return supervised(*options, names=NAMES, files=KeyFiles(folder), **settings)


def environment(member: Supervised) -> Mapping[str, str]:
    text = Path(f"/proc/{member.supervisor.status()['pid']}/environ").read_text()
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)


@real
async def test_a_roll_replaces_a_file_and_restarts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    async with by_file(folder) as member:
        old, fleet = await member.ask(), fleet_of(member)
        before = folder.joinpath("GEMINI_API_KEY").stat().st_ino
        wanted = member.shelf.turn("openai-prod")
        await fleet.roll(await only(fleet), "openai-prod", wanted)
        new, status = await member.ask(), (await member.status()).json()
        assert new["loaded"] == {**old["loaded"], "OPENAI_API_KEY": wanted.fingerprint}
        assert old["pid"] == new["pid"] == status["pid"]
        assert (status["state"], status["starts"], status["rolls"]) == ("serving", 1, 1)
        assert await fleet.serving(await only(fleet), "openai-prod") == wanted
        assert folder.joinpath("GEMINI_API_KEY").stat().st_ino == before, "what has not turned is left alone"
        await fleet.roll(await only(fleet), "openai-prod", wanted)
        assert (await member.status()).json()["rolls"] == 1
        given = environment(member)
        assert given[ALLOWED_FOLDERS] == str(folder)
        assert "OPENAI_API_KEY" not in given
        assert traces(str(given), member.shelf.seen) == []
    assert list(folder.iterdir()) == []


@real
async def test_a_key_that_cannot_be_put_is_retryable_and_the_old_one_stays(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    async with by_file(folder) as member:
        old, fleet = await member.ask(), fleet_of(member)
        each, before = await only(fleet), member.shelf.version("openai-prod")
        wanted = member.shelf.turn("openai-prod")
        aside = folder.rename(tmp_path / "aside")
        with pytest.raises(UnavailableError, match="cannot be written"):
            await fleet.roll(each, "openai-prod", wanted)
        aside.rename(folder)
        assert await fleet.serving(each, "openai-prod") == before
        assert await member.ask() == old
        await fleet.roll(each, "openai-prod", wanted)
        assert (await member.ask())["loaded"]["OPENAI_API_KEY"] == wanted.fingerprint


@real
async def test_a_program_that_is_found_unfit_never_serves_and_leaves_no_key(tmp_path: Path) -> None:
    folder, asked = tmp_path / "keys", []

    async def unfit() -> None:
        asked.append({path.name for path in folder.iterdir()})
        raise MisconfiguredError("it does not read files")

    async with by_file(folder, inspect=unfit) as member:
        with pytest.raises(MisconfiguredError, match="does not read files"):
            await member.task
        assert asked == [{"OPENAI_API_KEY", "GEMINI_API_KEY"}]
        assert await member.health() == 503
        assert await member.refuses()
    assert list(folder.iterdir()) == []


# Which programs read them -----------------------------------------------------------------------------------------------

MASTER = KeyMaterial("sk-" + "m" * 24)


async def _master_key() -> KeyMaterial:
    return MASTER


async def looked_at(document: Any, status: int = 200) -> None:
    async def details(request: Request) -> Response:
        known = request.headers["authorization"] == f"Bearer {MASTER.reveal()}"
        return JSONResponse(document, status) if known else JSONResponse({}, 401)

    with LoopbackServer(Starlette(routes=[Route("/health/readiness/details", details)])) as server:
        await file_readers.require(f"{server.url}/health/readiness", _master_key)


@pytest.mark.parametrize("version", ["1.109.1", "1.109.2", "1.110.0", "2.0.0", "1.109.1.dev2"])
async def test_a_version_that_reads_files_is_taken(version: str) -> None:
    await looked_at({"status": "healthy", "litellm_version": version})


@pytest.mark.parametrize("version", ["1.106.2", "1.109.0", "0.200.0", "1.99.9"])
async def test_an_older_version_is_refused_with_words(version: str) -> None:
    with pytest.raises(MisconfiguredError, match=f"LiteLLM {version}, which would send the path") as caught:
        await looked_at({"litellm_version": version})
    assert "1.109.1 or later" in caught.value.remedy


@pytest.mark.parametrize("document", [{}, [], {"litellm_version": None}, {"litellm_version": "new"}, {"litellm_version": 2}])
async def test_one_that_does_not_tell_is_refused(document: Any) -> None:
    with pytest.raises(MisconfiguredError, match="does not tell its version"):
        await looked_at(document)


async def test_one_that_does_not_answer_is_refused_and_no_key_is_told() -> None:
    with pytest.raises(MisconfiguredError, match="does not tell its version") as caught:
        await file_readers.require("http://127.0.0.1:9/health/readiness", _master_key)
    assert traces(f"{caught.value!r} {caught.value.__context__!r}", [MASTER]) == []
