"""keyturn sweep: one sweep over every credential, from the terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from keyturn import config
from keyturn.commands import flows
from keyturn.commands.exits import Exit, console, leave, print_data, reported


def sweep(as_json: bool) -> None:
    """Look at every credential, do what is due, and tell what is not well."""
    with reported(as_json):
        config.load()
        rows = flows.run(flows.load("flows.sweep", "sweep"))
    if as_json:
        print_data([asdict(row) for row in rows])
    else:
        console.print(_table(rows))
    leave(Exit.DONE if all(row.is_well for row in rows) else Exit.NOT_WELL)


def _table(rows: list[Any]) -> Table:
    table = Table("credential", "state", "what", "drift", "strays revoked")
    for row in rows:
        colour = "green" if row.is_well else "red"
        table.add_row(
            row.credential,
            f"[{colour}]{row.state}[/]",
            escape(row.sentence),
            escape("; ".join(row.drift)),
            ", ".join(row.strays),
        )
    return table
