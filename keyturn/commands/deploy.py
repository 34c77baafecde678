"""keyturn deploy: the deployments of keyturn.yaml, for the workers of one of Prefect's work pools."""

from __future__ import annotations

import os

from rich.markup import escape

from keyturn import config
from keyturn.commands import flows
from keyturn.commands.exits import Exit, console, leave, print_data, reported
from keyturn.durations import text
from keyturn.errors import MisconfiguredError


def deploy(pool: str | None, prune: bool, dry_run: bool, as_json: bool) -> None:
    """Make, change and remove what has to be, and say what that was."""
    with reported(as_json):
        follows = config.load().follows
        if not os.environ.get("PREFECT_API_URL"):
            raise MisconfiguredError(
                "PREFECT_API_URL is not set",
                remedy="set it to the API of the Prefect server that is to have the deployments",
            )
        changes: list[str] = flows.load("deployments.deploy", "main")(pool, prune, dry_run)
    if as_json:
        print_data({"changes": changes, "dry_run": dry_run})
    else:
        for change in changes or ["nothing to change"]:
            console.print(escape(change))
        if follows is not None:
            told = f"{follows.environment} comes first: what a schedule rotates here waits until it has proved its own"
            console.print(f"{told}, for {text(follows.bake)}; at most {text(follows.at_most)}, then: {follows.then}")
        if dry_run and changes:
            console.print("a dry run: nothing was done")
    leave(Exit.DONE)
