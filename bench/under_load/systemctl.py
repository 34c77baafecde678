"""A stand-in for `systemctl`: units whose files say how a program is started, and no more of systemd than a roll needs.

python systemctl.py UNITS [--user] restart UNIT            stop, SIGKILL after its grace, start; it ends when the job is done
python systemctl.py UNITS [--user] show --property=... UNIT

UNITS/UNIT.json is a specification of tests.walks.process_manager.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_MANAGER = Path(__file__).parent.parent.parent / "tests" / "walks" / "process_manager.py"
_UNIT = {
    "LoadState": "loaded",
    "NeedDaemonReload": "no",
    "Restart": "always",
    "KillMode": "mixed",
    "TimeoutStopUSec": "1min 40s",
}


def main(units: Path, verb: str, unit: str) -> int:
    job = units / f"{unit}.job"
    if verb == "show":
        busy = job.exists()
        told = {**_UNIT, "ActiveState": "deactivating" if busy else "active", "Job": "1" if busy else "0"}
        sys.stdout.writelines(f"{name}={value}\n" for name, value in told.items())
        return 0
    job.touch()
    try:
        return subprocess.run([sys.executable, str(_MANAGER), str(units / f"{unit}.json")], check=False).returncode
    finally:
        job.unlink()


if __name__ == "__main__":
    words = [word for word in sys.argv[2:] if not word.startswith("--")]
    sys.exit(main(Path(sys.argv[1]), words[0], words[-1]))
