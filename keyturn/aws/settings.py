"""Whom keyturn is to AWS: the settings that every adapter over its SDK has."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyturn.durations import Duration
from keyturn.references import Address, SecretReference

Region = Annotated[str, Field(pattern=r"^[a-z]{2,8}(-[a-z]+)+-\d+$")]


class AWSIdentity(BaseModel):
    """Credentials: `access_key_id` and `secret_access_key` (references), or `profile`, or else what the AWS SDK finds by
    itself (environment, web identity, ECS, EC2). With `role_arn` they are used to assume that role, again and again as
    it expires; `external_id` is told with it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    region: Region
    sts_endpoint_url: Address | None = None
    profile: str | None = None
    role_arn: str | None = Field(default=None, pattern=r"^arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+$")
    external_id: str | None = Field(default=None, min_length=2, max_length=1224, pattern=r"^[A-Za-z0-9_+=,.@:/-]+$")
    access_key_id: SecretReference | None = None
    secret_access_key: SecretReference | None = None
    session_token: SecretReference | None = None
    timeout: Duration = timedelta(seconds=10)

    @property
    def references(self) -> tuple[str, ...]:
        """Where the parts of the credentials are; none where the SDK finds them by itself."""
        given = (self.access_key_id, self.secret_access_key, self.session_token)
        return tuple(reference for reference in given if reference is not None)

    @model_validator(mode="after")
    def _login_fits(self) -> AWSIdentity:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        if self.access_key_id is not None and self.profile is not None:
            raise ValueError("give profile or access_key_id, not both")
        if self.external_id is not None and self.role_arn is None:
            raise ValueError("external_id is told with role_arn, which is missing")
        return self


class AWSLogin(AWSIdentity):
    """The same, and where the service is that is called. `endpoint_url`: a private endpoint of it."""

    endpoint_url: Address | None = None
