"""A real `bao agent` on loopback, with a configuration that somebody wrote."""

from __future__ import annotations

import subprocess
from pathlib import Path

from keyturn.testing.openbao import BINARY, AppRole
from keyturn.testing.processes import Processes


def log_in_with(role: AppRole, folder: Path) -> Path:
    """Put the role's ids where `keyturn agent-config --logins FOLDER` has the agent look."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("role-id", role.role_id), ("secret-id", role.secret_id)):
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text)
    return folder


def start_agent(processes: Processes, config: Path, name: str = "agent") -> subprocess.Popen[bytes]:
    """Start it. What it renders is there some tenths of a second later; what it says is in its log."""
    return processes.start(name, [BINARY, "agent", f"-config={config}"], env={"NO_PROXY": "127.0.0.1"})
