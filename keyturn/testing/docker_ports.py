"""Published ports of the double: each belongs to one container that runs; with `forwards`, TCP goes through them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyturn.testing.docker_containers import DoubleContainer

_FIRST = 14900


class TakenError(Exception):
    """Another container has it."""


class Ports:
    """`forwards`: what connects to a published port is connected to the container's own."""

    def __init__(self, *, forwards: bool = False) -> None:
        self._forwards = forwards
        self._taken: dict[int, str] = {}
        self._servers: dict[int, asyncio.Server] = {}

    async def take(self, container: DoubleContainer, address: str) -> dict[str, list[dict[str, str]]]:
        """Those that the container is to be reached by. TakenError, and nothing is taken."""
        asked = {inner: list(each or []) for inner, each in (container.host_config.get("PortBindings") or {}).items()}
        fixed = [
            int(each["HostPort"])
            for ports in asked.values()
            for each in ports
            if each.get("HostPort") not in (None, "", "0")
        ]
        for number in fixed:
            if number in self._taken:
                raise TakenError(f"Bind for 0.0.0.0:{number} failed: port is already allocated")
        found: dict[str, list[dict[str, str]]] = {}
        for inner, ports in asked.items():
            for each in ports:
                number = int(each.get("HostPort") or 0) or self._free()
                self._taken[number] = container.id
                found.setdefault(inner, []).append({"HostIp": each.get("HostIp") or "0.0.0.0", "HostPort": str(number)})
                if self._forwards:
                    await self._forward(number, address, int(inner.partition("/")[0]))
        return found

    def give_back(self, container: DoubleContainer) -> None:
        for number in [number for number, owner in self._taken.items() if owner == container.id]:
            del self._taken[number]
            if number in self._servers:
                self._servers.pop(number).close()

    def close(self) -> None:
        for server in self._servers.values():
            server.close()

    def _free(self) -> int:
        return next(number for number in range(_FIRST, _FIRST + 1000) if number not in self._taken)

    async def _forward(self, number: int, address: str, port: int) -> None:
        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there = await asyncio.open_connection(address, port)
            except OSError:
                writer.close()
                return
            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

        self._servers[number] = await asyncio.start_server(through, "127.0.0.1", number)
