"""keyturn pool: keys that people make ahead, and what waits for a person."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from keyturn.assembly import Adapters, Assembly, assemble
from keyturn.commands.exits import Exit, console, leave, print_data, reported
from keyturn.config import Config, load
from keyturn.errors import MisconfiguredError, NotFoundError
from keyturn.journal import UNKNOWN, Journal
from keyturn.lifecycle import old_keys
from keyturn.material import KeyMaterial
from keyturn.model import PoolEntry, Stage
from keyturn.quiet import hold_vendor_loggers
from keyturn.steps.observe import observe_decider
from keyturn.steps.pool import pool_of
from keyturn.steps.pool_fill import Filled, fill
from keyturn.steps.put import from_text
from keyturn.steps.revoke import settle

_LARGEST = 1_000_000  # characters


def add(name: str, expires: str | None, as_json: bool) -> None:
    """Each key that is given, one a line: tried, and put into the pool."""
    hold_vendor_loggers()
    with reported(as_json):
        config = load()
        config.credential(name)
        ends = _moment(expires) if expires else None
        done = asyncio.run(_add(config, name, ends))
    if as_json:
        print_data([asdict(each) for each in done])
    else:
        for each in done:
            colour, where = ("green", each.place) if each.place else ("red", "not taken")
            console.print(f"[{colour}]{where}[/] {each.hint} (key {each.number}): " + escape(each.sentence))
    leave(Exit.DONE if all(each.place for each in done) else Exit.NOT_WELL)


async def _add(config: Config, name: str, expires_at: datetime | None) -> Sequence[Filled]:
    async with assemble(config, name) as c:
        pool_of(c)
        return await fill(c, _given(), await _in_use(config, c), expires_at)


def _given() -> Sequence[KeyMaterial]:
    """From standard input, one a line; from a person at a terminal unseen, until they give none."""
    if sys.stdin.isatty():
        lines = list(iter(lambda: getpass.getpass("a key for the pool (none to end): "), ""))
    else:
        lines = [line for line in sys.stdin.read(_LARGEST).split("\n") if line.strip()]
    if not lines:
        raise MisconfiguredError("no key was given", remedy="give keys on standard input, one a line, and nothing else")
    return [from_text(line) for line in lines]


async def _in_use(config: Config, c: Assembly) -> set[str]:
    """What the secrets of every credential of this provider hold."""
    found: set[str] = set()
    adapters = Adapters(config)
    try:
        for credential in config.credentials.values():
            if credential.provider != c.settings.provider:
                continue
            for secret in credential.secrets:
                try:
                    held = await adapters.store(secret.store).stages(secret.ref)
                except NotFoundError:
                    continue
                found |= {version.fingerprint for version in held.values()}
    finally:
        await adapters.aclose()
    return found


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None:
        raise MisconfiguredError("--expires must be a date, such as 2027-01-31, or a time of RFC 3339")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def show(name: str, as_json: bool) -> None:
    """Every place of the pool, and what waits for a person."""
    hold_vendor_loggers()
    with reported(as_json):
        config = load()
        config.credential(name)
        found = asyncio.run(_show(config, name))
    if as_json:
        print_data(found)
    else:
        table = Table("place", "key", "state", "added", "ends", "id")
        for row in found["places"]:
            table.add_row(
                *(escape(str(row[column] or "-")) for column in ("place", "key", "state", "added_at", "ends_at", "id"))
            )
        console.print(table)
        console.print(
            f"{found['free']} free, of {found['size']} places" + ("" if found["is_well"] else ": [yellow]add keys[/]")
        )
        for each in found["old"]:
            words = "waits for a person to delete it in the console" if each["by_hand"] else "is revoked after the overlap"
            console.print(f"old key {each['id']}: {words}")
    leave(Exit.DONE if found["is_well"] else Exit.NOT_WELL)


async def _show(config: Config, name: str) -> dict[str, Any]:
    async with assemble(config, name) as c:
        pool = pool_of(c)
        entries = await pool.entries()
        stages, journal = await observe_decider(c)
        free = [entry for entry in entries if pool.may_take(entry)]
        current = stages[Stage.CURRENT].fingerprint if Stage.CURRENT in stages else ""
        old = [
            {"id": fingerprint if key == UNKNOWN else key, "by_hand": fingerprint in journal.by_hand}
            for fingerprint, key in old_keys(journal, stages).items()
        ]
        water = getattr(config.providers[c.settings.provider].settings, "low_water", 0)
        return {
            "free": len(free),
            "size": len(entries),
            "is_well": len(free) > water,
            "places": [_row(entry, entry in free, current, journal) for entry in entries],
            "old": old,
        }


def _row(entry: PoolEntry, is_free: bool, current: str, journal: Journal) -> dict[str, Any]:
    key = entry.key
    if key is None:
        state = "empty"
    elif entry.is_free:
        state = "free" if is_free else "ends too soon"
    elif key.fingerprint == current:
        state = "in service"
    elif key.fingerprint in journal.by_hand:
        state = "waits for a person"
    elif key.fingerprint in journal.keys:
        state = "old, or on its way"
    else:
        state = f"taken by {key.name}"
    return {
        "place": entry.place,
        "state": state,
        "key": key.hint if key else "",
        "id": key.id if key else "",
        "added_at": entry.added_at,
        "ends_at": key.expires_at if key else None,
    }


def retired(name: str, key: str, unchecked: bool, as_json: bool) -> None:
    """A person has deleted an old key in the console. It has to be refused."""
    hold_vendor_loggers()
    with reported(as_json):
        config = load()
        config.credential(name)
        done = asyncio.run(_retired(config, name, key, unchecked))
    if as_json:
        print_data(asdict(done))
    else:
        console.print("[bold green]retired[/]: " + escape(done.sentence))
    leave(Exit.DONE)


async def _retired(config: Config, name: str, key: str, unchecked: bool) -> Any:
    async with assemble(config, name) as c:
        return await settle(c, key, unchecked=unchecked)
