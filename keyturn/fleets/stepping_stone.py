"""A stepping stone between a fleet and a restart command: it writes down that the command runs, and becomes it.

Run as a script, never imported: `python -I -S stepping_stone.py LOCK NOTE FINGERPRINT PROGRAM ARGUMENT...`. LOCK is an open
file, locked by who started this. It is closed only after the note is written, so that whoever gets the lock next finds the
note, also where the starter was killed in between. The process goes on as the command, with the pid that the note names.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

_START_TIME = 19  # of the fields of /proc/PID/stat behind the program's name: see launched.py


def main() -> None:
    lock, note, fingerprint, *command = sys.argv[1:]
    started = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[_START_TIME])
    whole = Path(f"{note}.new")
    whole.write_text(json.dumps({"fingerprint": fingerprint, "pid": os.getpid(), "started": started}))
    whole.replace(note)
    os.close(int(lock))
    os.execvp(command[0], command)  # noqa: S606  # the user's own command, without a shell


if __name__ == "__main__":
    main()
