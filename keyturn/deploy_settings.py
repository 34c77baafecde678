"""What may stand in keyturn.yaml under `deploy`: where Prefect's workers run what is due. And under `follows`: after which
other environment."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from keyturn.durations import Duration
from keyturn.references import AbsolutePath
from keyturn.settings import Section

IN_THE_IMAGE = "/opt/keyturn"  # deployments/Dockerfile
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_KUBERNETES = ("image", "namespace", "service_account")


class DeploySettings(Section):
    """A work pool of Prefect's, and what each run in it is given.

    `pool`: its name. `type`: what it is made as where it is not there yet. `root`: the folder with `flows/` where the runs
    are; without it this one's with `process`, and that of our image with `kubernetes`. `env`: variables of each run, which
    Prefect keeps in plain text: never a secret. `job_variables`: more of what the pool's template takes.
    """

    pool: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    type: Literal["process", "kubernetes"] = "process"
    root: str | None = None
    image: str | None = Field(default=None, min_length=1)
    namespace: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    service_account: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")
    env: dict[str, str] = {}
    job_variables: dict[str, Any] = {}

    @field_validator("root")
    @classmethod
    def _is_absolute(cls, value: str | None) -> str | None:
        if value is not None and not PurePosixPath(value).is_absolute():
            raise ValueError("must be an absolute path")
        return value

    @field_validator("env")
    @classmethod
    def _are_variables(cls, value: dict[str, str]) -> dict[str, str]:
        if not all(map(_VARIABLE.fullmatch, value)):
            raise ValueError("must be variables: letters, digits and _, with a text for each")
        return value

    @model_validator(mode="after")
    def _fits(self) -> DeploySettings:
        if self.type != "kubernetes" and any(getattr(self, name) is not None for name in _OF_KUBERNETES):
            raise ValueError(f"{', '.join(_OF_KUBERNETES)} go with type: kubernetes")
        if self.type == "kubernetes" and self.image is None:
            raise ValueError("type: kubernetes needs an image, in which keyturn is: deployments/Dockerfile makes one")
        taken = {"env", "image", "namespace", "service_account_name"} & self.job_variables.keys()
        if taken:
            raise ValueError("job_variables: env, image, namespace and service_account have settings of their own here")
        return self

    @property
    def of_the_pool(self) -> dict[str, Any]:
        """The job variables, by the names of Prefect's templates, but for `env`."""
        given = {"image": self.image, "namespace": self.namespace, "service_account_name": self.service_account}
        return {**self.job_variables, **{name: value for name, value in given.items() if value is not None}}


class FollowsSettings(Section):
    """The environment before this one: by schedule, a credential is rotated here once it was rotated there, and proved.

    `file`: that environment's keyturn.yaml, where it is another file. `stores`: what of its stores is otherwise for whoever
    looks from here, such as a login that only reads. `bake`: how long ago that has to be. `at_most`: how long a credential
    that is due here is held up by it; `then`: after that it is told loudly, and waits on, or is rotated.
    """

    environment: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    file: AbsolutePath | None = None
    stores: dict[str, dict[str, Any]] = {}
    bake: Duration
    at_most: Duration
    then: Literal["wait", "rotate"]

    @model_validator(mode="after")
    def _times_fit(self) -> FollowsSettings:
        if self.at_most <= max(self.bake, timedelta(0)):
            raise ValueError("at_most must be longer than bake: else nothing is ever waited for in vain")
        return self
