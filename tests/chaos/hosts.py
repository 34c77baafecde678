"""One keyturn.yaml for every worker of a world: where the names in it lead differs from process to process.

A secret's address is part of what keyturn calls a key of its own, so two workers must be given the same. Each has a hosts
file of its own instead, as in containers: its names lead to its gate, and those of the driver to the servers themselves.
"""

from __future__ import annotations

import socket
from typing import Any

DIRECT = "127.0.0.1"
VARIABLE = "CHAOS_OUTSIDE"  # tells a worker the address of its gate
SUFFIX = ".outside"


def outside(part: str, port: int) -> str:
    """The address of a part of the outside as keyturn.yaml has it. `port` is the same at the server and at every gate."""
    return f"http://{part}{SUFFIX}:{port}"


def lead_to(address: str) -> None:
    """From now on in this process, each such name is this address."""
    asked = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return asked(address if isinstance(name, str) and name.endswith(SUFFIX) else host, *rest, **more)

    socket.getaddrinfo = getaddrinfo
