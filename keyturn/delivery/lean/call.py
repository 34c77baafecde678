"""The command line of a plain launcher, told from every other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_TAKEN = ("--proxy", "--start-timeout", "--state")
_DURATION = re.compile(r"([0-9]{1,6}[smhd])+")  # for the full path, should it come to that


class Call(NamedTuple):
    """What was typed. `config`: of --config; None: the usual place."""

    config: str | None
    proxy: str
    state: str | None
    command: Sequence[str]


def launcher_call(words: Sequence[str]) -> Call | None:
    """`[--config FILE] exec OPTION... -- PROGRAM...` with options of the lean reader's alone; None for anything else."""
    rest, config = list(words), None
    if rest[:1] == ["--config"] and len(rest) > 2:
        config, rest = rest[1], rest[2:]
    if rest[:1] != ["exec"] or "--" not in rest or config == "":
        return None
    at = rest.index("--")
    options, command = _options(rest[1:at]), rest[at + 1 :]
    if options is None or not options.get("--proxy") or not command or not command[0]:
        return None
    if not _DURATION.fullmatch(options.get("--start-timeout", "1s")) or options.get("--state") == "":
        return None
    return Call(config, options["--proxy"], options.get("--state"), command)


def _options(words: Sequence[str]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not equals:
            if not rest:
                return None
            value = rest.pop(0)
        if name not in _TAKEN or name in found or value.startswith("-"):
            return None
        found[name] = value
    return found
