"""keyturn incidents: the service that takes reports of leaked keys.

It brings its own group of commands; what they need is imported on use, for `keyturn --help` reads this module.
"""

from __future__ import annotations

import typer

incidents = typer.Typer(help="Reports of leaked keys, taken over HTTP.", no_args_is_help=True)


@incidents.callback()
def _group() -> None:
    """Reports of leaked keys, taken over HTTP."""


@incidents.command("serve")
def serve() -> None:
    """Take reports of leaked keys, and replace and revoke at once what they name."""
    from keyturn.commands import flows
    from keyturn.commands.exits import reported

    with reported():
        flows.load("deployments.incidents.serve", "main", quiet=False)()
