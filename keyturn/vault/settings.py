"""How Vault is reached and logged in to, as keyturn.yaml says it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from keyturn.durations import Duration
from keyturn.references import Address, SecretReference


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Mount = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$")]
"""A path of Vault's, relative, without anything that leads out of it."""

_Role = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,127}$")]
_Namespace = Annotated[str, Field(pattern=r"^/?[A-Za-z0-9_-][A-Za-z0-9_. -]*(/[A-Za-z0-9_-][A-Za-z0-9_. -]*)*/?$")]


class _Login(_Section):
    """A method that is logged in with, again whenever its token has run out. `mount`: where, if not under its own name."""

    mount: Mount | None = None

    @property
    def path(self) -> str:
        return f"auth/{self.mount or getattr(self, 'method', '')}/login"


class TokenAuth(_Section):
    """A token that somebody else renews: it is read anew when it is refused."""

    method: Literal["token"]
    token: SecretReference


class AppRoleAuth(_Login):
    """A role id and a secret id. `wrapped_secret_id`: a wrapping token, with the secret id in it, that is good for once."""

    method: Literal["approle"]
    role_id: SecretReference
    secret_id: SecretReference | None = None
    wrapped_secret_id: SecretReference | None = None

    @model_validator(mode="after")
    def _one_secret_id(self) -> AppRoleAuth:
        if (self.secret_id is None) == (self.wrapped_secret_id is None):
            raise ValueError("give secret_id or wrapped_secret_id, one of the two")
        return self


class KubernetesAuth(_Login):
    """The pod's service account token, read anew at each login: the kubelet replaces it."""

    method: Literal["kubernetes"]
    role: _Role
    token_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class JWTAuth(_Login):
    """A JSON Web Token that somebody else keeps fresh, read anew at each login. An `oidc` mount takes it too."""

    method: Literal["jwt"]
    role: _Role
    token: SecretReference


class AWSAuth(_Login):
    """AWS IAM: a signed sts:GetCallerIdentity. Credentials as with the store `aws_secrets_manager`.

    `region`: of the STS endpoint that the method is configured with; without it, the global one.
    """

    method: Literal["aws"]
    role: _Role
    iam_server_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.:/-]{1,200}$")
    region: str | None = Field(default=None, pattern=r"^[a-z]{2,8}(-[a-z]+)+-\d+$")
    profile: str | None = None
    access_key_id: SecretReference | None = None
    secret_access_key: SecretReference | None = None
    session_token: SecretReference | None = None

    @model_validator(mode="after")
    def _credentials_fit(self) -> AWSAuth:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token goes with access_key_id")
        if self.access_key_id is not None and self.profile is not None:
            raise ValueError("give profile or access_key_id, not both")
        return self


def _method(auth: Any) -> Any:
    return auth.get("method") if isinstance(auth, dict) else getattr(auth, "method", None)


# A union told apart by a function, for the words: pydantic's own would print what stands in the place of the method.
Auth = Annotated[
    Annotated[TokenAuth, Tag("token")]
    | Annotated[AppRoleAuth, Tag("approle")]
    | Annotated[KubernetesAuth, Tag("kubernetes")]
    | Annotated[JWTAuth, Tag("jwt")]
    | Annotated[AWSAuth, Tag("aws")],
    Discriminator(
        _method, custom_error_type="method", custom_error_message="needs the method: token, approle, kubernetes, jwt or aws"
    ),
]


class ConnectionSettings(_Section):
    """How Vault is reached. `ca_file`: the authority of its certificate, where the system does not know it."""

    address: Address
    auth: Auth
    namespace: _Namespace | None = None
    ca_file: Path | None = None
    verify: bool = True
    timeout: Duration = timedelta(seconds=15)
