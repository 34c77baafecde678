"""keyturn demo: what happens, as it happens, and a table at the end."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from keyturn.commands.exits import Exit, console, leave, reported
from keyturn.commands.flows import project_root
from keyturn.errors import MisconfiguredError, UnavailableError
from keyturn.quiet import hold_vendor_loggers


def demo(keep: bool, folder: Path) -> None:
    """Exit code 0 only when no request failed, no key was left over or leaked, and both old keys are refused."""
    hold_vendor_loggers()
    with reported():
        try:
            from keyturn.demo.run import Report, rotate_all, start
            from keyturn.testing.embedded import Embedded
        except ImportError as error:
            raise MisconfiguredError(f"the demo needs {error.name}", remedy="pip install 'keyturn[demo]'") from None
        root = project_root().resolve()
        shutil.rmtree(folder, ignore_errors=True)
        parts = Embedded(folder.resolve())
        environment = folder / "environment.sh"
        signal.signal(signal.SIGTERM, lambda *_: leave(Exit.UNEXPECTED))
        try:
            begun = time.monotonic()
            try:
                start(parts, root, _say)
            except (RuntimeError, FileNotFoundError) as error:
                raise UnavailableError(str(error), remedy=f"look at the logs in {folder}/logs") from None
            report: Report = asyncio.run(rotate_all(parts, _say))
            report.write(folder / "report.json")
            _show(report, folder, time.monotonic() - begun)
            if keep:
                parts.write_environment(environment)
                _keep(parts.prefect_url, parts.balancer_url, environment)
        finally:
            environment.unlink(missing_ok=True)
            _say("stop", "stopping everything")
            parts.stop()
    leave(Exit.DONE if report.good else Exit.NOT_WELL)


def _say(step: str, sentence: str) -> None:
    console.print(f"[dim]{datetime.now(UTC):%H:%M:%S}[/] [cyan]{step:<9}[/] " + escape(sentence))


def _show(report: object, folder: Path, seconds: float) -> None:
    from keyturn.demo.run import Report

    if not isinstance(report, Report):
        raise TypeError("a Report is shown")
    table = Table("", *(rotation.store for rotation in report.rotations), title="two rotations under traffic")
    for step in dict.fromkeys(step for rotation in report.rotations for step in rotation.steps):
        table.add_row(f"{step} (s)", *(f"{rotation.steps.get(step, 0):.1f}" for rotation in report.rotations))
    table.add_row("asked to refused (s)", *(f"{rotation.seconds:.1f}" for rotation in report.rotations))
    table.add_row("old key refused", *("yes" if rotation.old_key_refused else "NO" for rotation in report.rotations))
    console.print(table)
    figures = Table("figure", "value")
    figures.add_row("requests", f"{report.requests}, of them {report.streamed} streams")
    figures.add_row("failed requests", str(report.failed) + (f" {report.failures}" if report.failed else ""))
    figures.add_row("seconds a request, p50 and p99", f"{report.request_p50_seconds} and {report.request_p99_seconds}")
    figures.add_row("stray keys", str(report.strays))
    figures.add_row("leaked bytes", str(report.leaked_bytes))
    figures.add_row("everything", f"{seconds:.0f} s")
    console.print(figures)
    for leak in report.leaks:
        console.print(f"[red]leak:[/] {leak.bytes_found} bytes in {leak.place}")
    console.print(f"report: {folder / 'report.json'}")


def _keep(prefect: str, balancer: str, environment: Path) -> None:
    console.print(f"\n[bold]Prefect's UI:[/] {prefect}   LiteLLM: {balancer}   stop with Ctrl-C")
    console.print(f"in another terminal: . {environment}   (docs/tutorial.md goes on from there)")
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("")
