"""A person, as an exchange: a worker that waits for one tells what it is waiting for, at its gate, and goes on then.

The person knows nothing but the sentence that keyturn tells everybody: which key to delete, by its last characters. What is
in a vendor's console under them is deleted, once.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.chaos.hosts import SUFFIX

if TYPE_CHECKING:
    from tests.chaos.vendors.account import Account

PERSON = "person"
VARIABLE = "CHAOS_PERSON"  # tells a worker where to ask; not set where people delete nothing

_ASKED = re.compile(r"delete the key that ends in \.\.\.(\S+) at ")
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def address(port: int) -> str:
    """Where a worker asks, as its gate has it."""
    return f"http://{PERSON}{SUFFIX}:{port}"


def ask(sentence: str) -> None:
    """In a worker: what a run waits for is told, and returns when it is done."""
    split = urlsplit(os.environ[VARIABLE])
    connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=300)
    connection.request("POST", "/delete", body=sentence.encode())
    connection.getresponse().read()
    connection.close()


class Person:
    """Who listens behind the gate. `port` once it is started."""

    port = 0

    def __init__(self, account: Account) -> None:
        self._account = account
        self.deleted: list[str] = []  # fingerprints

    async def start(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            sentence = (await reader.readexactly(int(length[1]) if length else 0)).decode()
            await self._obey(sentence)
            writer.write(_ANSWER)
            await writer.drain()
            writer.close()

        self._server = await asyncio.start_server(answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self.port:
            self._server.close()

    async def _obey(self, sentence: str) -> None:
        """A sentence that names no key is one that nobody can follow: nothing is done, and the run waits on."""
        for ending in _ASKED.findall(sentence):
            for key in await self._account.keys():
                if key.ending == ending and not key.deleted:
                    await self._account.delete(key)
                    self.deleted.append(key.fingerprint)
