"""keyturn status --watch: the same table again and again, on one screen."""

from __future__ import annotations

import time
from typing import NoReturn

from keyturn.commands.exits import Exit, console, leave, reported
from keyturn.commands.options import duration


def watched(name: str | None, every: str, as_json: bool) -> NoReturn:
    """Until Ctrl-C, which is a good end. With `as_json` one document follows the other."""
    from keyturn.commands.look import status

    with reported(as_json):
        pause = max(1.0, duration("--every", every).total_seconds())
    try:
        while True:
            if not as_json and console.is_terminal:
                console.clear()
            try:
                status(name, as_json)
            except SystemExit as ended:  # how well it is stands on the screen
                if ended.code == Exit.MISCONFIGURED:
                    raise
            if not as_json:
                console.print(f"[dim]looked at {time.strftime('%H:%M:%S')}, again in {every}; Ctrl-C ends it[/]")
            time.sleep(pause)
    except KeyboardInterrupt:
        leave(Exit.DONE)
