"""keyturn metrics, as it is typed. What it needs is imported on use, for `keyturn --help` reads this module."""

from __future__ import annotations

from typing import Annotated

import typer

Listen = Annotated[str | None, typer.Option(help="Serve them here, at /metrics; else print once.", metavar="HOST:PORT")]


def metrics(
    listen: Listen = None,
    every: Annotated[str, typer.Option(help="With --listen: how often to look.")] = "60s",
) -> None:
    """Ages, due times, failures, strays, the last sweep and seconds per step, as Prometheus reads them."""
    from keyturn.commands.metrics import metrics as command

    command(listen, every)
