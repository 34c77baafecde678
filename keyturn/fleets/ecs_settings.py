"""What may stand in keyturn.yaml under proxies of kind `ecs`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, field_validator

from keyturn.aws.settings import AWSLogin
from keyturn.durations import Duration
from keyturn.references import Address, SecretReference

_NAME = r"[A-Za-z0-9_-]{1,255}"  # botocore 1.44.5, CreateCluster and CreateService
ServiceName = Annotated[str, Field(pattern=rf"^{_NAME}$")]


class ECSSettings(AWSLogin):
    """Credentials: see AWSLogin. `cluster`: a name, or an ARN. `port`: the proxy's, at each task's own address.

    `container`: the one that LiteLLM runs in, where a task has several. `roll_timeout` covers one service. `failed_tasks`:
    so many in a row end a roll, also where the service has no circuit breaker. `longest_request`: what a stopping task has
    to be let finish. `check_permissions`: ask IAM's policy simulator what keyturn may do (`iam_endpoint_url`: where it is).
    `master_key` is for the canary.
    """

    cluster: str = Field(pattern=rf"^(arn:[a-z-]+:ecs:[a-z0-9-]+:\d{{12}}:cluster/)?{_NAME}$")
    services: tuple[ServiceName, ...] = Field(min_length=1, max_length=100)
    port: int = Field(ge=1, le=65535)
    master_key: SecretReference
    container: str | None = Field(default=None, pattern=rf"^{_NAME}$")
    roll_timeout: Duration = timedelta(minutes=30)
    poll_interval: Duration = timedelta(seconds=5)
    failed_tasks: int = Field(default=3, ge=1, le=1000)
    longest_request: Duration = timedelta(minutes=1)
    check_permissions: bool = True
    iam_endpoint_url: Address | None = None

    @field_validator("services")
    @classmethod
    def _services_differ(cls, services: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(services)) < len(services):
            raise ValueError("a service is listed twice")
        return services

    @property
    def cluster_name(self) -> str:
        return self.cluster.rpartition("/")[2]
