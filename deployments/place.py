"""Where runs are made: in the process that serves them, or in a work pool of Prefect's."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from deployments.wanted import ROOT, Wanted
from keyturn import environments
from keyturn.config import PATH_VARIABLE, Config
from keyturn.deploy_settings import IN_THE_IMAGE
from keyturn.errors import MisconfiguredError


@dataclass(frozen=True, slots=True)
class Place:
    """`pool`: None in the process that serves. `root`: the folder with `flows/` there."""

    pool: str | None = None
    root: str = ""
    job_variables: dict[str, Any] = field(default_factory=dict)

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """What of a deployment depends on the place, by the names of Prefect's API."""
        if self.pool is None:
            here = os.path.relpath(ROOT)
            entrypoint = wanted.entrypoint if here == "." else f"{here}/{wanted.entrypoint}"
            nowhere = dict.fromkeys(("work_pool_name", "work_queue_name", "pull_steps"))
            return {"entrypoint": entrypoint, "path": ".", "job_variables": {}, **nowhere}
        return {
            "entrypoint": wanted.entrypoint,
            "path": None,
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": self.root}}],
            "job_variables": self.job_variables,
            "work_pool_name": self.pool,
            "work_queue_name": wanted.queue or "default",
        }


HERE = Place()


def in_a_pool(config: Config, pool: str | None) -> Place:
    """The pool that keyturn.yaml or the command names. MisconfiguredError where neither does."""
    settings = config.deploy
    name = pool or settings.pool
    if name is None:
        raise MisconfiguredError(
            "no work pool is named",
            remedy="give --pool NAME, or deploy: {pool: NAME} in keyturn.yaml; on one machine `keyturn serve` needs none",
        )
    env = dict(settings.env)
    if settings.type == "process":  # in a container the image says where its keyturn.yaml is
        env.setdefault(PATH_VARIABLE, str(config.path.absolute()))
    if config.environment:
        env.setdefault(environments.VARIABLE, config.environment)
    root = settings.root or (str(ROOT) if settings.type == "process" else IN_THE_IMAGE)
    return Place(name, root, {**settings.of_the_pool, **({"env": env} if env else {})})
