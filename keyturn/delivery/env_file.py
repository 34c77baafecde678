"""Keys from a file of variables that somebody else renders: Vault Agent, or an operator's Secret that is mounted.

The member needs no access to the store then. It cannot tell an old value from a wrong one either: whoever orders a roll
says which value is meant, and until the file has that one, the keys that are loaded stay (keyturn.delivery.renders).

A file that is half-written is never taken: every line of it has to end, the last one too, and a variable without a value
is one that is not there. (What renders should put the file in place as a whole all the same; Vault Agent does.)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from keyturn.delivery.keys import NotRenderedError, Variable
from keyturn.delivery.variable_names import Names
from keyturn.errors import MisconfiguredError
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, VersionRef

_LARGEST = 1024 * 1024  # bytes
_NOTHING = ("", "<no value>", "<nil>")  # what a Go template prints for a field that is not there
_REMEDY = "look whether what renders it runs, may read the secret, and writes to this path"


class EnvFile:
    """One file of variables, or several (an operator may write one for each secret): the first that has a name counts.

    Dotenv as python-dotenv 1.2 reads it, without interpolation: bare, or in quotes.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)

    def variables(self, names: Mapping[str, Names]) -> list[Variable]:
        """A variable for each credential; `names` tells its name in the file, which is the program's name for it too.

        A key of several parts stands there as a whole: as it is in the store, and nobody reads half of it.
        """
        return [self._variable(credential, each) for credential, each in names.items()]

    def key(self, name: str) -> HeldKey:
        """The key of this name, as the file has it now. NotRenderedError: there is none, or none that can be used."""
        for path in self._paths:
            value = _values(path).get(name)
            if value not in (None, *_NOTHING):
                return _held(path, name, str(value))
        where = " and ".join(map(str, self._paths))
        raise NotRenderedError(f"{where} has no value for {name}", remedy=_REMEDY)

    def _variable(self, credential: str, names: Names) -> Variable:
        async def read() -> HeldKey:
            held = self.key(names.key)
            fault = ""
            try:
                names.given(held.material)
            except MisconfiguredError as error:
                fault = error.message
            if fault:
                raise NotRenderedError(f"what is rendered for {names.key} is of no use: {fault}", remedy=_REMEDY)
            return held

        return Variable(credential, names.key, read, rendered=True, parts=names.parts)


def _held(path: Path, name: str, value: str) -> HeldKey:
    try:
        material = KeyMaterial(value)
    except ValueError as error:  # which never quotes the text
        raise NotRenderedError(f"what {path} has for {name} is no key: {error}", remedy=_REMEDY) from None
    # The file tells no version: the value names itself.
    return HeldKey(VersionRef(material.fingerprint(), material.fingerprint()), material)


def _values(path: Path) -> Mapping[str, str | None]:
    failure, text = "", ""
    try:
        text = _content(path).decode()
    except OSError as error:
        failure = error.strerror or type(error).__name__
    except ValueError:  # it holds what was read
        failure = "it is no text in UTF-8"
    if failure:
        raise NotRenderedError(f"{path} cannot be read: {failure}", remedy=_REMEDY)
    if text and not text.endswith("\n"):
        raise NotRenderedError(
            f"{path} is half-written: its last line does not end",
            remedy="let what renders it end every line, the last one too",
        )
    return dotenv_values(stream=StringIO(text), interpolate=False)


def _content(path: Path) -> bytes:
    # Not to wait for whoever writes to a pipe: it is asked for in the supervisor's event loop.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(_LARGEST)
