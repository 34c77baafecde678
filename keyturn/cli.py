"""The command line. Nothing heavy is imported here: each command imports what it needs when it runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from keyturn.lifecycle import Reason

HELP = """Rotate the provider keys behind LiteLLM proxies: create, write, prove, roll, revoke.

keyturn.yaml is read from the current folder, from $KEYTURN_CONFIG, or from --config.
"""

EPILOG = (
    "Exit codes: 0 done, or nothing to do. 1 a fault of keyturn's. 2 wrong usage or keyturn.yaml. "
    "3 stopped before the new key was promoted: the old one is served. "
    "4 stopped after it: run again, it goes on there. 5 rotated, and the old key is not revoked yet. "
    "6 something is not well, or could not be done (every other command). "
    "7 the proxies did not take the new key, and the previous one is served again."
)

_LONG_WORD = re.compile(r"[A-Za-z0-9_.+/=~-]{16,}")  # longer than any name of ours


class Discreet(TyperGroup):
    """Usage errors quote what was typed. What could be a key, pasted at the wrong place, is masked."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _masked():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _masked():
            return super().invoke(ctx)


@contextmanager
def _masked() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):
            error.message = _LONG_WORD.sub("***", message)  # type: ignore[attr-defined]  # typer's own, whichever its class
        raise


app = typer.Typer(
    name="keyturn",
    cls=Discreet,
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Style(StrEnum):
    shell = "shell"
    dotenv = "dotenv"
    json = "json"
    compose = "compose"
    k8s = "k8s"


Name = Annotated[str, typer.Argument(help="A credential of keyturn.yaml.", metavar="NAME")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


@app.callback()
def _configuration(
    config: Annotated[Path | None, typer.Option(help="The keyturn.yaml to use.", metavar="FILE")] = None,
) -> None:
    if config is not None:
        if not config.is_file():
            raise typer.BadParameter("there is no such file")
        os.environ["KEYTURN_CONFIG"] = str(config)


@app.command()
def rotate(
    name: Name,
    reason: Annotated[Reason, typer.Option(help="Why; kept with the rotation.")] = Reason.MANUAL,
    overlap: Annotated[str | None, typer.Option(help="How long the old key lives on, such as 0s or 24h.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, create nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the old key is refused.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rotate a key now. What an earlier run left half-way is finished first."""
    from keyturn.commands.rotate import rotate as command

    command(name, reason.value, overlap, dry_run, wait, as_json)


@app.command()
def retire(
    name: Name,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the end of the overlap.")] = False,
    as_json: AsJson = False,
) -> None:
    """Revoke the old key of the last rotation, on evidence that nothing uses it."""
    from keyturn.commands.rotate import retire as command

    command(name, now, as_json)


@app.command()
def rollback(name: Name, as_json: AsJson = False) -> None:
    """Serve the previous key again, while it is held; nothing is begun by itself after that."""
    from keyturn.commands.rotate import rollback as command

    command(name, as_json)


@app.command()
def sweep(as_json: AsJson = False) -> None:
    """Look at every credential now: finish, retire, rotate what is due, revoke strays, tell what disagrees."""
    from keyturn.commands.sweep import sweep as command

    command(as_json)


@app.command()
def plan(name: Name, as_json: AsJson = False) -> None:
    """What a rotation would do: calls and permissions. Touches nothing."""
    from keyturn.commands.look import plan as command

    command(name, as_json)


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="One credential; else all.", metavar="[NAME]")] = None,
    as_json: AsJson = False,
) -> None:
    """Where every credential stands, and what comes next."""
    from keyturn.commands.look import status as command

    command(name, as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Try every endpoint and permission, and say what to do about each that is not well."""
    from keyturn.commands.look import doctor as command

    command(as_json)


@app.command("exec", context_settings={"allow_interspersed_args": False})
def exec_(
    context: typer.Context,
    proxy: Annotated[str, typer.Option(help="The proxies of keyturn.yaml that this is a member of.")],
    command: Annotated[list[str], typer.Argument(help="The program, after --.", metavar="-- COMMAND...")],
    control: Annotated[str | None, typer.Option(help="Supervise it, and take orders at this address.")] = None,
    token: Annotated[str, typer.Option(help="The control token, as a reference.")] = "env:KEYTURN_CONTROL_TOKEN",  # noqa: S107
    health: Annotated[str | None, typer.Option(help="HOST:PORT of a listener for health checks alone.")] = None,
    readiness: Annotated[str | None, typer.Option(help="When the program is ready; else from its --port.")] = None,
    drain: Annotated[str, typer.Option(help="Not ready for so long before the program is stopped.")] = "3s",
    grace: Annotated[str, typer.Option(help="How long the program may take to end.")] = "90s",
    start_timeout: Annotated[str, typer.Option(help="How long it may take to be ready, and a store to answer.")] = "180s",
    state: Annotated[Path | None, typer.Option(help="Without --control: say here which versions it has.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep the last keys here, encrypted, for when a store is down.")] = None,
    cache_key: Annotated[str | None, typer.Option(help="What the cache is encrypted with, as a reference.")] = None,
    cache_max_age: Annotated[str, typer.Option(help="How old a key out of the cache may be.")] = "24h",
) -> None:
    """Run a program with its keys in the environment.

    Without --control: read the current keys, and become the program. With --control, http://127.0.0.1:PORT or unix:/PATH:
    supervise it, and restart it gently when a key turns.
    """
    if control is None:
        _only_with("--control", context, "token", "health", "readiness", "drain", "grace")
        from keyturn.commands.launch import launch

        launch(proxy, command, start_timeout, state, (cache, cache_key, cache_max_age))
        return
    if state is not None:
        raise typer.BadParameter("--state is without --control: the supervisor tells its status there")
    from keyturn.commands.deliver import execute

    caching = (cache, cache_key, cache_max_age)
    execute(proxy, command, control, token, health, readiness, drain, grace, start_timeout, caching)


def _only_with(option: str, context: typer.Context, *names: str) -> None:
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"--{name} goes with {option}")


@app.command()
def env(
    proxy: Annotated[str, typer.Option(help="The proxies of keyturn.yaml to print for.")],
    style: Annotated[Style, typer.Option("--format", help="How to print.")] = Style.shell,
    name: Annotated[str | None, typer.Option(help="With --format k8s: the name of the Secret.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print keys to a terminal, too.")] = False,
) -> None:
    """Print a proxy's current keys as variables, for another launcher."""
    from keyturn.commands.deliver import environment

    environment(proxy, style.value, name, show)


@app.command()
def serve(
    limit: Annotated[int, typer.Option(help="Runs at once.", min=1)] = 10,
) -> None:
    """Serve the deployments of keyturn.yaml: schedules, the UI's button, the API."""
    from keyturn.commands.serve import serve as command

    command(limit)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running, and print the UI's address.")] = False,
    folder: Annotated[Path, typer.Option(help="Where logs and the report go.")] = Path("var/demo"),
) -> None:
    """Rotate a key under live traffic, with everything embedded: no account, no Docker, no root."""
    from keyturn.commands.demo import demo as command

    command(keep, folder)


def main() -> None:
    """The entry point of the `keyturn` program."""
    app()
