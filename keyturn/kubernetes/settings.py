"""How a Kubernetes API server is reached: from inside the cluster, by a kubeconfig, or at an address with a token."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from keyturn.durations import Duration
from keyturn.references import Address, SecretReference


class ConnectionSettings(BaseModel):
    """Without `kubeconfig` and `server`: the service account of the pod that keyturn runs in.

    `kubeconfig`: a file, and `context` one of its contexts; else its current one. `server`: the API's address, with `token`;
    `ca_file` and `verify` are for it alone, since the other two ways know their authority.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kubeconfig: Path | None = None
    context: str | None = None
    server: Address | None = None
    token: SecretReference | None = None
    ca_file: Path | None = None
    verify: bool = True
    timeout: Duration = timedelta(seconds=15)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.server and self.kubeconfig:
            raise ValueError("names both kubeconfig and server: use one of them")
        if bool(self.server) != bool(self.token):
            raise ValueError("server and token go together")
        if self.context and not self.kubeconfig:
            raise ValueError("context is one of a kubeconfig, and none is named")
        if not self.server and (self.ca_file or not self.verify):
            raise ValueError("ca_file and verify go with server")
        return self
