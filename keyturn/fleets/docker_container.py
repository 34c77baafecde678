"""A container as its engine tells it (`GET /containers/ID/json`). It holds the environment: nothing here prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from keyturn.delivery.variable_names import Names
from keyturn.json_object import UnreadableError, inside, iso, mapping, text
from keyturn.key_parts import joined
from keyturn.material import KeyMaterial

# Labels of a container that keyturn has made.
MEMBER = "keyturn.member"  # the name that it bears, or will bear
CREDENTIAL = "keyturn.credential"  # for whose key it was made
REPLACES = "keyturn.replaces"  # the id of the container in whose place it is made
VALUE = "keyturn.value."  # + credential: the fingerprint of the value that it was given
WRITTEN = "keyturn.written."  # + credential: the fingerprint of what its variables are

IN_THE_MAKING = "-keyturn"  # behind a member's name: its successor, until it takes the name over
_NEVER = datetime(1, 1, 2, tzinfo=UTC)  # "0001-01-01T00:00:00Z": not yet
_SHORT = 12  # characters of an id, which an engine gives as host name and, before API 1.45, as alias


@dataclass(frozen=True, slots=True)
class Container:
    """UnreadableError from any of these for what is no container."""

    document: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        return text(self.document.get("Id"))

    @property
    def name(self) -> str:
        return text(self.document.get("Name")).removeprefix("/")

    @property
    def short_id(self) -> str:
        return self.id[:_SHORT]

    @property
    def config(self) -> dict[str, Any]:
        return mapping(self.document.get("Config"))

    @property
    def host_config(self) -> dict[str, Any]:
        return mapping(self.document.get("HostConfig"))

    @property
    def state(self) -> dict[str, Any]:
        return mapping(self.document.get("State"))

    @property
    def networks(self) -> dict[str, Any]:
        return mapping(inside(self.document, "NetworkSettings", "Networks") or {})

    @property
    def labels(self) -> dict[str, Any]:
        return mapping(self.config.get("Labels") or {})

    @property
    def network_mode(self) -> str:
        return str(self.host_config.get("NetworkMode") or "default")

    @property
    def runs(self) -> bool:
        """Its program runs now: it is not between two starts, and not paused."""
        state = self.state
        return state.get("Running") is True and not state.get("Restarting") and not state.get("Paused")

    @property
    def is_up(self) -> bool:
        """As `runs`, or the engine is about to start it again by itself."""
        return self.state.get("Running") is True or self.state.get("Restarting") is True

    @property
    def was_started(self) -> bool:
        return _time(self.state.get("StartedAt")) > _NEVER

    @property
    def started_at(self) -> str:
        """As the engine writes it: the same as long as it is the same start."""
        return text(self.state.get("StartedAt"))

    @property
    def this_run_since(self) -> datetime:
        """A time after all that an earlier run of it did, and before all that this one does.

        The engine keeps when it saw the last run end (`FinishedAt`, until the next end; V: 20.10.24), which is before it
        starts the next.
        """
        return max(_time(self.state.get("FinishedAt")), _time(self.document.get("Created")))

    @property
    def health(self) -> str:
        """What its health check says: starting, healthy, unhealthy; "": it has none."""
        told = inside(self.state, "Health", "Status")
        return "" if told in (None, "", "none") else text(told)

    @property
    def successor_of(self) -> str:
        """The member that it is to take over from; "": it is nobody's successor, or has taken over."""
        member = self.labels.get(MEMBER)
        return str(member) if member and self.name == f"{member}{IN_THE_MAKING}" else ""

    @property
    def replaces(self) -> str:
        """The id of the container in whose place it was made; ""."""
        return str(self.labels.get(REPLACES) or "")

    @property
    def made_for(self) -> str:
        """The credential for whose key it was made; ""."""
        return str(self.labels.get(CREDENTIAL) or "")

    def environment(self) -> dict[str, str]:
        """The variables that its program is given: they are fixed when a container is made, and no restart changes them."""
        found = self.config.get("Env") or []
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise UnreadableError
        return dict(each.partition("=")[::2] for each in found)

    def value_of(self, credential: str, names: Names) -> str | None:
        """The fingerprint of the key in its environment; None: there is none, or that cannot be known.

        A key of several parts is known by the labels alone, and only while its variables are what they were made with.
        """
        found = written(self.environment(), names)
        told, when = self.labels.get(VALUE + credential), self.labels.get(WRITTEN + credential)
        if found is None or (told is not None and when != found):
            return None
        return found if not names.parts else (str(told) if told is not None else None)

    def address(self, port: int, network: str | None) -> str:
        """HOST:PORT in one of its networks, "" where it has none now."""
        given = {name: each for name, each in sorted(self.networks.items()) if network in (None, name)}
        for each in given.values():
            if host := inside(each, "IPAddress"):
                return f"{host}:{port}"
            if host := inside(each, "GlobalIPv6Address"):
                return f"[{host}]:{port}"
        return ""

    def published(self, port: int, host: str) -> str:
        """HOST:PORT where its port is published, "" where it is not now. `host`: for one that is published everywhere."""
        for each in inside(self.document, "NetworkSettings", "Ports", f"{port}/tcp") or []:
            if number := inside(each, "HostPort"):
                there = str(inside(each, "HostIp") or "")
                there = host if there in ("", "0.0.0.0", "::") else there  # noqa: S104  # what an engine answers
                return f"[{there}]:{number}" if ":" in there else f"{there}:{number}"
        return ""


def written(environment: Mapping[str, str], names: Names) -> str | None:
    """The fingerprint of what stands in these variables; None: not in all of them, or nothing that can be a key."""
    found = {name: environment.get(name, "") for name in names.variables}
    try:
        whole = joined(found) if names.parts else found[names.key]
        return KeyMaterial(whole).fingerprint() if all(found.values()) else None
    except ValueError:
        return None


def host_of(engine: str) -> str:
    """Where the ports of an engine's containers are published, seen from here."""
    return "127.0.0.1" if engine.startswith("unix:") else urlsplit(engine).hostname or "127.0.0.1"


def _time(value: Any) -> datetime:
    return iso(value) if value else datetime.min.replace(tzinfo=UTC)
