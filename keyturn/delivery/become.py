"""Becoming the program: it takes this process over, so that signals, process id and exit code are the program's own.

Imports little, for the lean start (keyturn.delivery.lean) uses it too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from keyturn.delivery.environment import overridden, shadowed, shadowing_words, with_keys
from keyturn.delivery.variable_names import Names
from keyturn.material import KeyMaterial

_DEFAULT_PATH = "/bin:/usr/bin"
_NOT_STARTED = 127  # as shells tell it


class Loaded(NamedTuple):
    """A key that the program is given. `version`: the store's own name for it."""

    credential: str
    names: Names
    version: str
    material: KeyMaterial


def find_program(name: str, path: str | None) -> str | None:
    """The file that a command's first word names; None: there is none that may be executed."""
    folders = [""] if "/" in name else (path or _DEFAULT_PATH).split(os.pathsep)
    for folder in folders:
        file = os.path.join(folder, name) if folder else name  # noqa: PTH118  # pathlib takes longer than all of this
        if name and os.access(file, os.X_OK) and not os.path.isdir(file):  # noqa: PTH112
            return file
    return None


def become(
    program: str, command: Sequence[str], environment: Mapping[str, str], keys: Sequence[Loaded], state: str | None = None
) -> NoReturn:
    """Replace this process by the program, with the keys in its environment. `environment`: without what is keyturn's own.

    `state`: a file for `write_state`. OSError when that cannot be written, MisconfiguredError for a key of several parts
    that cannot be taken apart: nothing is started then. A program that the system does not start ends with 127, as in a
    shell.
    """
    texts = {name: text for key in keys for name, text in key.names.given(key.material).items()}
    if state is not None:
        write_state(state, keys)
    for sentence in overridden(environment, texts):
        say("WARNING", sentence)
    given = with_keys(environment, texts)
    if others := shadowed(given, texts):
        say("WARNING", shadowing_words(others))
    say("INFO", "starting the program with " + ", ".join(f"{key.credential} {key.material.fingerprint()}" for key in keys))
    sys.stdout.flush()
    sys.stderr.flush()
    failure = _replace(program, command, given)
    if state is not None:
        with suppress(OSError):
            os.unlink(state)  # noqa: PTH108
    say("ERROR", f"the program cannot be started: {failure}")
    sys.exit(_NOT_STARTED)


def _replace(program: str, command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Why it failed; else it does not return."""
    # Python ignores these for itself, and what is ignored stays ignored in the program.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(program, list(command), environment)  # noqa: S606  # the program that the user named, without a shell
    except (OSError, ValueError) as error:  # ValueError: a null byte; its text would not hold it, and is not told either
        return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def end_when_told() -> None:
    """SIGTERM and SIGINT end this process until it is the program: as process 1 of a container it would ignore them.

    At once: nothing has been begun that had to be undone, and a thread that waits for a store need not be waited for.
    """

    def end(number: int, frame: object) -> NoReturn:
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it: then it is ignored in the program, too
            signal.signal(number, end)


def write_state(path: str, keys: Sequence[Loaded]) -> None:
    """Say which process has which versions, in a file that is there as a whole or not at all, and for its owner alone.

    JSON: `pid`; `started`, when the process began, in clock ticks since the system did (field 22 of Linux's
    /proc/PID/stat; null elsewhere): both together name the process, also when its id is used again; `at`, in seconds since
    1970; `credentials`: for each its `id` and `fingerprint`. OSError.
    """
    document: dict[str, Any] = {
        "pid": os.getpid(),
        "started": _start_ticks(),
        "at": int(time.time()),
        "credentials": {key.credential: {"id": key.version, "fingerprint": key.material.fingerprint()} for key in keys},
    }
    write_private(path, json.dumps(document).encode() + b"\n")


def write_private(path: str, content: bytes) -> None:
    """A file of mode 0600 that has the old content or the new one, whenever anybody reads it. OSError."""
    beside = f"{path}.{os.getpid()}.new"
    with suppress(FileNotFoundError):  # left by one that was killed: process ids of containers repeat
        os.unlink(beside)  # noqa: PTH108
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123
            os.fchmod(descriptor, 0o600)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, path)  # noqa: PTH105
    except BaseException:
        os.unlink(beside)  # noqa: PTH108
        raise


def _start_ticks() -> int | None:
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def say(level: str, sentence: str) -> None:
    """A line as the supervisor logs it. Not by `logging`, which takes long to import for a line or two."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    sys.stderr.write(f"{stamp},{int(now % 1 * 1000):03d} keyturn {level} {sentence}\n")
