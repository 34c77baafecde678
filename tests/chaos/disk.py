"""Changes of the disk, as exchanges: a worker asks at its gate before each, so that it can be killed there like at a call.

What answers behind the gate does nothing: the change is made by the worker itself, when it has the answer.
"""

from __future__ import annotations

import asyncio
import http.client
from urllib.parse import urlsplit

from keyturn.stores import safe_file

DISK = "disk"
VARIABLE = "CHAOS_DISK"  # tells a worker where to ask; not set where its world has no files

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def tell(url: str | None) -> None:
    """From now on in this process, each change of a dotenv store's files is asked for."""
    if url is None:
        return
    host, port = urlsplit(url).hostname or "", urlsplit(url).port

    def ask(effect: str) -> None:
        connection = http.client.HTTPConnection(host, port, timeout=300)
        connection.request("POST", f"/{effect}")
        connection.getresponse().read()
        connection.close()

    safe_file.effect = ask


class Disk:
    """What is behind the gate. `port` once it is started."""

    port = 0

    async def start(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_ANSWER)
            await writer.drain()
            writer.close()

        self._server = await asyncio.start_server(answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self.port:
            self._server.close()
