"""What may stand in keyturn.yaml for proxies of the kind docker."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from keyturn.durations import Duration
from keyturn.references import AbsolutePath, Address, SecretReference

_SOCKET = re.compile(r"unix:/[!-~]{1,106}")  # the system takes 107 bytes
_HTTP: TypeAdapter[str] = TypeAdapter(Address)
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"
_LABEL = r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,199}(=[A-Za-z0-9_.:/@+-]{0,199})?$"


def _engine(value: str) -> str:
    socket = value.replace("unix:///", "unix:/", 1)
    if _SOCKET.fullmatch(socket):
        return socket
    try:
        return _HTTP.validate_python(value)
    except ValidationError:
        pass
    raise ValueError("must be unix:/PATH, or http://HOST:PORT or https://HOST:PORT, without a user name or password in it")


class EngineTLS(BaseModel):
    """For an engine on TCP: `ca` it is believed by, `certificate` and `key` we are believed by. Files in PEM."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    ca: AbsolutePath | None = None
    certificate: AbsolutePath | None = None
    key: AbsolutePath | None = None

    @model_validator(mode="after")
    def _go_together(self) -> EngineTLS:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self


class DockerSettings(BaseModel):
    """Which containers are the members, where each is asked, and what a roll of one is. See docs/docker.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    engine: Annotated[str, AfterValidator(_engine)] = "unix:/var/run/docker.sock"
    tls: EngineTLS = EngineTLS()
    project: str | None = Field(default=None, pattern=_NAME)
    service: str | None = Field(default=None, pattern=_NAME)
    labels: tuple[Annotated[str, Field(pattern=_LABEL)], ...] = ()
    port: int = Field(default=4000, ge=1, le=65535)
    address: Literal["network", "published"] = "network"
    network: str | None = Field(default=None, pattern=_NAME)
    scheme: Literal["http", "https"] = "http"
    roll: Literal["restart", "recreate"] = "restart"
    state: AbsolutePath | None = None
    surge: bool = True
    stop_timeout: Duration = timedelta(seconds=90)
    master_key: SecretReference
    roll_timeout: Duration = timedelta(minutes=10)
    poll_interval: Duration = timedelta(seconds=1)

    @model_validator(mode="after")
    def _fit(self) -> DockerSettings:
        if (self.project is None) != (self.service is None):
            raise ValueError("project and service go together: they name a service of Docker Compose")
        if self.project is None and not self.labels:
            raise ValueError("needs project and service, or labels: which containers are the members?")
        if self.tls != EngineTLS() and not self.engine.startswith("https:"):
            raise ValueError("tls is for an engine at https://")
        if self.roll == "restart" and self.state is None:
            raise ValueError("needs state, the file that `keyturn exec --state` writes in the container; or roll: recreate")
        if self.roll == "recreate" and self.state is not None:
            raise ValueError("state is for roll: restart")
        if self.network is not None and self.address == "published":
            raise ValueError("network is for address: network")
        if self.roll_timeout <= self.stop_timeout:
            raise ValueError("roll_timeout must be longer than stop_timeout: a member ends, and starts, within it")
        return self

    @property
    def selector(self) -> tuple[str, ...]:
        """The labels that every member has. Compose's are those of its own (V: compose 2), without `docker compose run`."""
        if self.project is None:
            return self.labels
        compose = (
            f"com.docker.compose.project={self.project}",
            f"com.docker.compose.service={self.service}",
            "com.docker.compose.oneoff=False",
        )
        return (*compose, *self.labels)
