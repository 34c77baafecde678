"""keyturn audit verify, keyturn audit show: reading the audit log. They change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from keyturn.assembly import Adapters
from keyturn.audit.files import files_of
from keyturn.audit.seal import Seal
from keyturn.audit.verify import Verified, records
from keyturn.audit.verify import verify as verified
from keyturn.audit.writer import seal_of
from keyturn.commands.exits import Exit, console, leave, print_data, reported
from keyturn.commands.options import reference
from keyturn.config import load
from keyturn.errors import MisconfiguredError
from keyturn.quiet import hold_vendor_loggers
from keyturn.references import resolver

_ASIDE = ("flow", "why", "key", "sentence")  # facts that are shown before all others


def verify(files: Sequence[Path], key: str | None, head: str, as_json: bool) -> None:
    """Look at every line of these files, or of keyturn.yaml's."""
    hold_vendor_loggers()
    with reported(as_json):
        there, seal = _log(files, key)
        found = _guarded(lambda: verified(there, seal, head))
    if as_json:
        print_data(_facts(found, there))
    else:
        _tell(found, len(there))
    leave(Exit.DONE if found.is_well else Exit.NOT_WELL)


def show(name: str | None, files: Sequence[Path], key: str | None, as_json: bool) -> None:
    """Every record, or those of one credential."""
    hold_vendor_loggers()
    with reported(as_json):
        there, seal = _log(files, key)
        found = _guarded(lambda: [each for each in records(there, seal) if name in (None, each["credential"])])
    if as_json:
        print_data(found)
    else:
        for record in found:
            console.print(_line(record))
    leave(Exit.DONE)


def _log(files: Sequence[Path], key: str | None) -> tuple[list[Path], Seal]:
    """MisconfiguredError where no files are named, and keyturn.yaml asks for no log."""
    if files:
        return list(files), asyncio.run(_given_seal(key))
    config = load()
    if config.audit is None:
        raise MisconfiguredError("keyturn.yaml asks for no audit log", remedy="add `audit: {file: /PATH}`")
    there = files_of(config.audit.file)
    if not there:
        raise MisconfiguredError("there is no audit log yet", remedy=f"nothing has been written to {config.audit.file}")
    return there, asyncio.run(_configured_seal(key or config.audit.key))


async def _given_seal(key: str | None) -> Seal:
    """Files from elsewhere are judged without keyturn.yaml."""
    return await seal_of(reference("--key", key) if key is not None else None, resolver())


async def _configured_seal(key: str | None) -> Seal:
    adapters = Adapters(load())
    try:
        return await seal_of(reference("--key", key) if key is not None else None, adapters.resolve)
    finally:
        await adapters.aclose()


def _guarded(read: Any) -> Any:
    try:
        return read()
    except OSError as error:
        raise MisconfiguredError(
            f"a file of the audit log cannot be read ({type(error).__name__})", remedy="look at its path and permissions"
        ) from None


def _facts(found: Verified, files: Sequence[Path]) -> dict[str, Any]:
    fault = None
    if found.fault is not None:
        place, sentence = found.fault
        fault = {"file": place.file, "line": place.line, "sentence": sentence}
    return {
        "well": found.is_well,
        "files": list(files),
        "records": found.records,
        "head": {"number": found.head.number, "hash": found.head.hash},
        "notes": found.notes,
        "fault": fault,
        "noted_record_is_there": found.seen,
    }


def _tell(found: Verified, files: int) -> None:
    for note in found.notes:
        console.print("[yellow]note:[/] " + escape(note))
    if found.fault is not None:
        place, sentence = found.fault
        console.print(f"[red]not well:[/] {escape(str(place))}: " + escape(f"this line {sentence}"))
        console.print(f"{found.records} records before it are as they were written")
    elif not found.seen:
        console.print("[red]not well:[/] the record that was noted is not there: lines are missing, or it is another log")
    if found.is_well:
        console.print(f"[green]well:[/] {found.records} records in {files} files, each as it was written")
    console.print(f"the last one: {found.head.number} {found.head.hash}")


def _line(record: Mapping[str, Any]) -> str:
    facts: Mapping[str, str] = record["facts"]
    names = [name for name in _ASIDE if facts.get(name)] + sorted(name for name in facts if name not in _ASIDE)
    told = "; ".join(f"{name} {facts[name]}" for name in names if facts[name])
    by = record["by"]
    who = " ".join(by[name] for name in ("who", "name", "user") if by.get(name))
    proof = _proof(record["evidence"])
    words = "; ".join(each for each in (told, proof, f"by {who}" if who else "") if each)
    at = str(record["at"])[:19].replace("T", " ")
    of = escape(record["credential"])
    return f"[dim]{record['number']:>6} {at}[/] [cyan]{of}[/] [bold]{record['act']}[/] " + escape(words)


def _proof(evidence: Sequence[Mapping[str, Any]]) -> str:
    if not evidence:
        return ""
    members = evidence[0]["members"]
    missing = sum(len(each["missing"]) for each in evidence)
    told = f"members {sum(each['counts'] for each in members)}/{len(members)}"
    return f"{told}, missing {missing}" if missing else told
