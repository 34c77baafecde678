"""A process that lets others die: each verb of the store, killed before each of its changes of the disk.

`python -m tests.stores.dotenv_deaths FOLDER` forks a child for each death, so that what is imported is imported once. After
each it looks what is left, does the verb again, and looks once more; it prints how many deaths each verb has died.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyturn.errors import ConflictError
from keyturn.material import KeyMaterial
from keyturn.model import SecretRef, Stage, VersionRef
from keyturn.references import resolver
from keyturn.stores import safe_file
from keyturn.stores.dotenv_file import DotenvFile

SECRET = SecretRef("dotenv", "llm/.env", "OPENAI_API_KEY")
TEXT = "# the keys\nOTHER='untouched'\nOPENAI_API_KEY={}\nLAST=1"
OLD, NEW, TOKEN = KeyMaterial("sk-" + "0" * 40), KeyMaterial("sk-" + "1" * 40), "7d3f0a52-8a52-4c43-9d1c-3f1d5c1f9b11"
NEW_VERSION = VersionRef(TOKEN, NEW.fingerprint())


def store_of(folder: Path) -> DotenvFile:
    return DotenvFile(DotenvFile.Settings(folder=folder), resolver(environ={}))


@dataclass(frozen=True)
class Verb:
    """`before`: verbs that were done. `torn`: a promote died in the middle. `ends`: the stages when it is done."""

    act: Callable[[DotenvFile], Coroutine[Any, Any, object]]
    ends: dict[Stage, KeyMaterial]
    before: tuple[str, ...] = ()
    torn: bool = False


async def _promote(store: DotenvFile) -> None:
    stages = await store.stages(SECRET)
    held = stages[Stage.CURRENT]
    old = held if held.fingerprint == OLD.fingerprint() else stages[Stage.PREVIOUS]
    await store.promote(SECRET, NEW_VERSION, old)


async def _annotate(store: DotenvFile) -> None:
    await store.annotate(SECRET, {"key_a": "b", "kept": "c"})


_SERVED = {Stage.CURRENT: OLD}
_STAGED = {Stage.CURRENT: OLD, Stage.PENDING: NEW}
VERBS = {
    "create": Verb(lambda store: store.create(SECRET, OLD), _SERVED),
    "stage": Verb(lambda store: store.stage(SECRET, NEW, TOKEN), _STAGED),
    "spend": Verb(lambda store: store.spend(SECRET, TOKEN), _SERVED),
    "promote": Verb(_promote, {Stage.CURRENT: NEW, Stage.PREVIOUS: OLD}, ("stage",)),
    "bar": Verb(lambda store: store.bar(SECRET, NEW_VERSION), _STAGED, ("stage",)),
    "discard": Verb(lambda store: store.discard(SECRET, NEW_VERSION), _SERVED, ("stage",)),
    "annotate": Verb(_annotate, _STAGED, ("stage",)),
    "promote after a torn one": Verb(_promote, {Stage.CURRENT: NEW, Stage.PREVIOUS: OLD}, ("stage",), torn=True),
    "bar after a torn promote": Verb(lambda store: store.bar(SECRET, NEW_VERSION), _STAGED, ("stage",), torn=True),
    "discard after a torn promote": Verb(lambda store: store.discard(SECRET, NEW_VERSION), _SERVED, ("stage",), torn=True),
}


def dies(folder: Path, verb: str, is_time: Callable[[list[str]], bool]) -> bool:
    """One that is killed when it is time, before an effect; False: it has lived to the end."""
    child = os.fork()
    if child == 0:
        seen: list[str] = []

        def effect(name: str) -> None:
            seen.append(name)
            if is_time(seen):
                os.kill(os.getpid(), signal.SIGKILL)

        safe_file.effect = effect
        code = 1
        try:
            asyncio.run(VERBS[verb].act(store_of(folder)))
            code = 0
        finally:
            os._exit(code)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, -signal.SIGKILL), ended
    return ended != 0


async def look(folder: Path, name: str, *, is_done: bool) -> None:
    """What anybody finds there. `is_done`: the verb was done to its end, else it died in the middle."""
    verb, path, store = VERBS[name], folder / SECRET.path, store_of(folder)
    text = path.read_text() if path.exists() else ""
    allowed = [*([TEXT.format(OLD.reveal())] if name != "create" else [LACKING, created()])]
    allowed += [TEXT.format(NEW.reveal())] if Stage.PREVIOUS in verb.ends else []
    assert text in allowed, "the file is neither as it was nor as it is to be"
    if text != LACKING:
        stages = {stage: version.fingerprint for stage, version in (await store.stages(SECRET)).items()}
        ends = {stage: key.fingerprint() for stage, key in verb.ends.items()}
        begins = {Stage.CURRENT: OLD.fingerprint(), **({Stage.PENDING: NEW.fingerprint()} if verb.before else {})}
        assert stages in ([ends] if is_done else [ends, begins]), stages
        held = await store.current(SECRET)
        assert held.material.fingerprint() == stages[Stage.CURRENT]
    notes = await store.annotations(SECRET)
    assert notes in ({}, {"key_a": "b", "kept": "c"})
    beside = folder / "llm" / "..env.keyturn"
    if beside.exists():
        assert stat.S_IMODE(beside.stat().st_mode) == 0o700
        assert all(stat.S_IMODE(each.stat().st_mode) == 0o600 for each in beside.iterdir() if each.name != "scratch")
        assert not (is_done and (beside / "scratch").exists()), "the scratch was left over"
    if is_done:
        await look_at_the_end(name, store, notes)


async def look_at_the_end(name: str, store: DotenvFile, notes: object) -> None:
    """What each verb promises beside the stages."""
    if name == "annotate":
        assert notes == {"key_a": "b", "kept": "c"}
    if name == "spend" or name.startswith("discard"):
        await conflicts(store.stage(SECRET, NEW, TOKEN))
    if name.startswith(("bar", "discard")):
        await conflicts(store.promote(SECRET, NEW_VERSION, (await store.current(SECRET)).version))


async def conflicts(call: Coroutine[Any, Any, object]) -> None:
    try:
        await call
    except ConflictError:
        return
    raise AssertionError("it was done all the same")


LACKING = "OTHER='untouched'\nLAST=1"


def created() -> str:
    return f"{LACKING}\nOPENAI_API_KEY={OLD.reveal()}\n"


def prepare(folder: Path, name: str) -> None:
    path = folder / SECRET.path
    path.parent.mkdir(parents=True)
    path.write_text(LACKING if name == "create" else TEXT.format(OLD.reveal()))
    path.chmod(0o600)
    for each in VERBS[name].before:
        asyncio.run(VERBS[each].act(store_of(folder)))
    if VERBS[name].torn:  # the second document says what is displaced, and it is served still
        assert dies(folder, "promote", lambda seen: seen.count("rename") == 2)


def deaths(root: Path, name: str) -> int:
    """How many it has died, each in a folder of its own."""
    for nth in range(1, 60):
        folder = root / name.replace(" ", "_") / str(nth)
        prepare(folder, name)
        died = dies(folder, name, lambda seen, nth=nth: len(seen) == nth)  # type: ignore[misc]
        asyncio.run(look(folder, name, is_done=not died))
        asyncio.run(VERBS[name].act(store_of(folder)))
        asyncio.run(look(folder, name, is_done=True))
        if not died:
            return nth - 1
    raise AssertionError("it never ends")


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: deaths(Path(sys.argv[1]), name) for name in VERBS}))
