"""Process 1 of a container, for a supervisor: it passes signals on, and takes in orphans.

The kernel gives process 1 every orphan of the container, which stays a zombie until it is waited for, and ignores signals
for which process 1 has no handler. A supervisor that waited for any child would take its own program's end from under
asyncio. So, where `keyturn exec --control` is process 1, it goes on in a child, and process 1 does nothing but this. It has
imported next to nothing, and stays as small as a Python can be. A launcher without --control needs none of it: there the
program itself is process 1.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def stand_aside() -> None:
    """Return in a child of this process, which stays behind as its init and ends with the child's exit code.

    128 + n when the child ended by signal n. The child leads no session of its own: a terminal's signals reach both.
    """
    # Blocked until both know what to do: a signal in between would be lost, or kill the child unasked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    _be_init(child, before)


def _be_init(child: int, mask: set[int] | set[signal.Signals]) -> None:
    def pass_on(number: int, frame: object) -> None:
        with suppress(ProcessLookupError):  # it has just ended: waiting for it tells how
            os.kill(child, number)

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    while True:
        ended, status = os.waitpid(-1, 0)  # goes on by itself after a signal
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(128 - code if code < 0 else code)
