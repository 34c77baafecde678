"""`keyturn exec` with every logger at DEBUG: `python -m tests.leaks.loud_exec --proxy NAME ...`."""

from __future__ import annotations

import logging
import sys
from typing import Any

from keyturn import cli

_configure = logging.basicConfig


def _loudly(**settings: Any) -> None:
    _configure(**{**settings, "level": logging.DEBUG})


logging.basicConfig = _loudly
sys.argv[:1] = ["keyturn", "exec"]
cli.main()
