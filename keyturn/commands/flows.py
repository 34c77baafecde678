"""Run a flow of the project's `flows/` folder from the terminal.

The folder is deploy-time source and not part of the wheel, so it is looked up, never imported by name at the top: in
$KEYTURN_ROOT, else in the current folder.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from keyturn.errors import MisconfiguredError, UnavailableError

ROOT_VARIABLE = "KEYTURN_ROOT"

# How Prefect 3.8.8 says that its server does not answer: one that is named, and one of its own.
_NO_SERVER = ("Failed to reach API", "Timed out while attempting to connect to ephemeral Prefect API server")


def project_root() -> Path:
    """The folder that holds `flows/`. MisconfiguredError says how to name it."""
    root = Path(os.environ.get(ROOT_VARIABLE) or Path.cwd())
    if not (root / "flows" / "rotate.py").is_file():
        raise MisconfiguredError(
            f"no flows/ folder in {root}", remedy=f"run keyturn in the project's root, or name it with ${ROOT_VARIABLE}"
        )
    return root


def load(module: str, name: str, *, quiet: bool = True) -> Any:
    """An object of the project's source, such as `flows.rotate`, `rotate`. `quiet`: Prefect's log stays off the terminal."""
    root = str(project_root())
    if root not in sys.path:
        sys.path.insert(0, root)
    if quiet:
        _quiet_prefect()
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    # The server that a command brings along where none is named: 20 s are too few for it on a busy machine.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    return getattr(import_module(module), name)


def run(flow: Callable[..., Any], **parameters: Any) -> Any:
    """The flow's return value. Its errors come out as they were raised; UnavailableError when Prefect does not answer."""
    try:
        return asyncio.run(flow(**parameters))
    except RuntimeError as error:
        if not str(error).startswith(_NO_SERVER):
            raise
        raise UnavailableError(
            "Prefect's API does not answer",
            remedy="start its server and look at PREFECT_API_URL; without it a command brings a server of its own",
        ) from None


def _quiet_prefect() -> None:
    """The terminal shows our own lines; Prefect keeps its log in its own database."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")
