"""A stepping stone between the supervisor and its program: when the supervisor dies, the program is told to end.

Run as a script, never imported: `python -I -S lifeline.py PARENT PROGRAM ARGUMENT...`. It sets Linux's parent-death
signal on itself and then becomes the program: same process id, same environment, 20 ms later. Without it a supervisor
that is killed hard leaves a proxy behind that keeps the port and the old key.

Why not `preexec_fn`: it runs Python between fork and exec, and the supervisor has threads (store SDKs, asyncio's child
watcher) whose locks would be held for ever in the copy. Why not `setpriv --pdeathsig`: many images lack it.
Elsewhere than on Linux there is no such signal, and the program simply starts.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>; it survives exec, except into setuid and file-capability programs


def _tie_to(parent: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    # Linux sends it when the thread ends that started us: the supervisor's event loop, which lives as long as it does.
    if os.getppid() != parent:  # it died before the call above: no signal will come
        sys.exit(128 + signal.SIGTERM)


def main() -> None:
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        _tie_to(int(parent))
    # Python ignores these for itself, and what is ignored stays ignored in the program.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606  # the program that the user named, without a shell
    except OSError as error:
        sys.stderr.write(f"keyturn exec: {command[0]} cannot be started: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
