"""keyturn serve: the deployments of keyturn.yaml, served from this machine until it is stopped."""

from __future__ import annotations

from keyturn.commands import flows
from keyturn.commands.exits import reported


def serve(limit: int) -> None:
    """Register the deployments and run what they schedule, `limit` runs at once."""
    with reported():
        main = flows.load("deployments.serve", "main", quiet=False)
        main(limit)
