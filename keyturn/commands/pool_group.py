"""keyturn pool, as it is typed. What its commands need is imported on use, for `keyturn --help` reads this module."""

from __future__ import annotations

from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(help="A credential of keyturn.yaml.", metavar="NAME")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]

pool = typer.Typer(help="Keys that people make ahead, for providers whose API makes none.", no_args_is_help=True)


@pool.command("add")
def pool_add(
    name: Name,
    expires: Annotated[str | None, typer.Option(help="When these keys end, such as 2027-01-31.", metavar="DATE")] = None,
    as_json: AsJson = False,
) -> None:
    """Put keys into the pool: from standard input, one a line, or asked for unseen. Each is tried first."""
    from keyturn.commands.pool import add as command

    command(name, expires, as_json)


@pool.command("list")
def pool_list(name: Name, as_json: AsJson = False) -> None:
    """Every place of the pool: which keys are free, in service, or wait for a person."""
    from keyturn.commands.pool import show as command

    command(name, as_json)


@pool.command("retired")
def pool_retired(
    name: Name,
    key: Annotated[str, typer.Argument(help="Its id, as the rotation or pool list names it.", metavar="ID")],
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Believe it, where the key's text is held nowhere and cannot be tried.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say that a person has deleted an old key in the console. It is tried, and has to be refused."""
    from keyturn.commands.pool import retired as command

    command(name, key, unchecked, as_json)
