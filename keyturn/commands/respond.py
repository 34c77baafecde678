"""keyturn respond: keys have leaked. The flow of that name, from the terminal."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import typer
from rich.markup import escape

from keyturn import config, progress
from keyturn.assembly import Line
from keyturn.commands import flows
from keyturn.commands.exits import Exit, console, leave, print_data, reported
from keyturn.errors import KeyturnError
from keyturn.material import KeyMaterial
from keyturn.steps.put import from_text

_LARGEST = 65536  # characters
# By `flows.outcome.Result`; every other outcome without a refusal is a revocation that is pending.
_STOPPED = {"stopped, not replaced": Exit.BEFORE_PIVOT, "stopped, replaced": Exit.AFTER_PIVOT}


def respond(names: list[str], policy: str, fingerprint: str | None, ask_key: bool, as_json: bool) -> None:
    """Replace the keys in service of these credentials, or end the key of this fingerprint; stay until that is done.

    `ask_key`: the leaked key itself is asked for, or read from standard input; it goes no further than its fingerprint.
    """
    if ask_key and fingerprint is not None:
        raise typer.BadParameter("--ask-key and --fingerprint both name the leaked key: give one")
    if not names and fingerprint is None and not ask_key:
        raise typer.BadParameter("name the credentials whose keys have leaked, or the --fingerprint of a leaked key")
    if fingerprint is not None and (len(fingerprint) != 16 or set(fingerprint) - set("0123456789abcdef")):
        raise typer.BadParameter("--fingerprint is 16 hex digits, as keyturn tells it; it is not the key, nor a part of it")
    lines = listen(as_json)
    with reported(as_json, lines, Exit.BEFORE_PIVOT):
        known = config.load()
        for name in names:
            known.credential(name)
        if ask_key:
            fingerprint = _given().fingerprint()
        flow = flows.load("flows.respond", "respond")
        try:
            outcomes = flows.run(flow, credentials=names, policy=policy, fingerprint=fingerprint)
        except KeyturnError as error:
            outcomes = getattr(error, "outcomes", None)
            if outcomes is None:
                raise
    if as_json:
        print_data({"outcomes": [asdict(each) for each in outcomes], "timeline": [asdict(line) for line in lines]})
    else:
        for each in outcomes:
            colour = "green" if each.old_key_refused_at is not None else "red"
            console.print(f"[bold {colour}]{each.credential}: {each.result}[/]: " + escape(each.sentence))
    leave(_code(outcomes))


def _given() -> KeyMaterial:
    text = getpass.getpass("the leaked key: ") if sys.stdin.isatty() else sys.stdin.read(_LARGEST + 1)
    return from_text(text)


def _code(outcomes: Sequence[Any]) -> Exit:
    """The worst, the one furthest from the end first."""
    left = [_STOPPED.get(each.result, Exit.REVOCATION_PENDING) for each in outcomes if each.old_key_refused_at is None]
    return min(left, default=Exit.DONE)


def listen(as_json: bool) -> list[Line]:
    """The timelines of all, as they grow; printed with the credential's name unless JSON is asked for."""
    lines: list[Line] = []

    def show(line: Line) -> None:
        lines.append(line)
        if not as_json:
            console.print(
                f"[dim]{line.at:%H:%M:%S}[/] [bold]{line.credential}[/] [cyan]{line.step:<9}[/] " + escape(line.sentence)
            )

    progress.listeners.append(show)
    return lines
