"""Containers of the double of a container engine, as an engine 20.10.24 tells them (`docker_double`)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from keyturn.testing.docker_programs import Program

NEVER = "0001-01-01T00:00:00Z"


def written(moment: datetime) -> str:
    """As an engine writes a time: with nine digits behind the point."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"


@dataclass
class DoubleContainer:
    """`config` and `host_config`: as they were given to the create. `starts`: when its program was started."""

    name: str
    config: dict[str, Any]
    host_config: dict[str, Any]
    networks: dict[str, dict[str, Any]]
    image: str
    program: Program
    created: datetime
    id: str = field(default_factory=lambda: secrets.token_hex(32))
    status: str = "created"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    told_to_stop: bool = False
    restarts: int = 0
    starts: list[datetime] = field(default_factory=list)
    ports: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    address: str = ""

    @property
    def runs(self) -> bool:
        return self.status == "running"

    @property
    def environment(self) -> dict[str, str]:
        return dict(each.partition("=")[::2] for each in self.config.get("Env") or [])

    @property
    def labels(self) -> dict[str, str]:
        return self.config.get("Labels") or {}

    @property
    def command(self) -> list[str]:
        return [*(self.config.get("Entrypoint") or []), *(self.config.get("Cmd") or [])]

    def started(self, now: datetime) -> None:
        self.status, self.started_at, self.told_to_stop = "running", now, False
        self.starts.append(now)

    def ended(self, code: int, now: datetime) -> None:
        self.status, self.exit_code, self.finished_at = "exited", code, now
        self.ports, self.address = {}, ""

    def inspected(self, network_id: Callable[[str], str]) -> dict[str, Any]:
        """`GET /containers/ID/json`."""
        state: dict[str, Any] = {
            "Status": self.status,
            "Running": self.status in ("running", "restarting", "paused"),
            "Paused": self.status == "paused",
            "Restarting": self.status == "restarting",
            "OOMKilled": False,
            "Dead": False,
            "Pid": self.program.pid if self.runs else 0,
            "ExitCode": self.exit_code,
            "Error": "",
            "StartedAt": written(self.started_at) if self.started_at else NEVER,
            "FinishedAt": written(self.finished_at) if self.finished_at else NEVER,
        }
        check = (self.config.get("Healthcheck") or {}).get("Test") or ["NONE"]
        if check != ["NONE"]:
            state["Health"] = {"Status": self.program.health if self.runs else "unhealthy", "FailingStreak": 0, "Log": []}
        command = self.command
        return {
            "Id": self.id,
            "Created": written(self.created),
            "Path": command[0] if command else "",
            "Args": command[1:],
            "State": state,
            "Image": self.image,
            "Name": f"/{self.name}",
            "RestartCount": self.restarts,
            "Driver": "overlay2",
            "Platform": "linux",
            "ExecIDs": None,
            "HostConfig": self.host_config,
            "GraphDriver": {"Data": {}, "Name": "overlay2"},
            "Mounts": list(self._mounts()),
            "Config": self.config,
            "NetworkSettings": {
                "Bridge": "",
                "Ports": self.ports,
                "IPAddress": self.address if self.host_config["NetworkMode"] in ("default", "bridge") else "",
                "Networks": {name: self._endpoint(name, network_id(name)) for name in self.networks},
            },
        }

    def listed(self, network_id: Callable[[str], str]) -> dict[str, Any]:
        """Its place in `GET /containers/json`."""
        whole = self.inspected(network_id)
        return {
            "Id": self.id,
            "Names": [f"/{self.name}"],
            "Image": self.config.get("Image", ""),
            "ImageID": self.image,
            "Command": " ".join(self.command),
            "Created": int(self.created.timestamp()),
            "Ports": [],
            "Labels": self.labels,
            "State": self.status,
            "Status": self.status.capitalize(),
            "HostConfig": {"NetworkMode": self.host_config["NetworkMode"]},
            "NetworkSettings": {"Networks": whole["NetworkSettings"]["Networks"]},
            "Mounts": whole["Mounts"],
        }

    def _endpoint(self, name: str, network_id: str) -> dict[str, Any]:
        given = self.networks[name]
        aliases = [*(given.get("Aliases") or []), self.id[:12]] if name not in ("bridge", "host", "none") else None
        return {
            "IPAMConfig": given.get("IPAMConfig"),
            "Links": given.get("Links"),
            "Aliases": aliases,
            "NetworkID": network_id,
            "EndpointID": self.id if self.runs else "",
            "Gateway": "",
            "IPAddress": self.address,
            "IPPrefixLen": 8 if self.address else 0,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "MacAddress": "",
            "DriverOpts": given.get("DriverOpts"),
        }

    def _mounts(self) -> list[dict[str, Any]]:
        found = []
        for each in self.host_config.get("Binds") or []:
            source, there, *more = each.split(":")
            kind = "bind" if source.startswith("/") else "volume"
            found.append({"Type": kind, "Name": source, "Source": source, "Destination": there, "RW": "ro" not in more})
        for there in self.config.get("Volumes") or {}:
            if there not in [each["Destination"] for each in found]:
                name = f"{self.id[:20]}{len(found)}"
                found.append({"Type": "volume", "Name": name, "Source": name, "Destination": there, "RW": True})
        return found
