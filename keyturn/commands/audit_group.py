"""keyturn audit, as it is typed. What its commands need is imported on use, for `keyturn --help` reads this module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The audit log: who wanted what, why, and on which evidence it was done.", no_args_is_help=True)

_FILES = "Its files, oldest first; else those of keyturn.yaml."
Files = Annotated[list[Path] | None, typer.Argument(help=_FILES, metavar="[FILE...]")]
Key = Annotated[str | None, typer.Option(help="What its lines are sealed with, as a reference; else as keyturn.yaml says.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Noted = Annotated[
    str | None, typer.Option("--head", help="The hash of a record, noted earlier, that has to be there.", metavar="HASH")
]


@app.command()
def verify(files: Files = None, key: Key = None, head: Noted = None, as_json: AsJson = False) -> None:
    """Check that no line was changed, taken out or put in. Names the first bad line."""
    from keyturn.commands.audit import verify as command

    command(files or [], key, head or "", as_json)


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="One credential; else all.", metavar="[NAME]")] = None,
    file: Annotated[list[Path] | None, typer.Option(help=_FILES, metavar="FILE")] = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Print what was done, in order. Nothing of a log that cannot be believed."""
    from keyturn.commands.audit import show as command

    command(name, file or [], key, as_json)
