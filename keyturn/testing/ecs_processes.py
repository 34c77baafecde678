"""Tasks of the ECS double as programs of this machine: secrets from Secrets Manager when they start, a readiness to ask."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from botocore.exceptions import ClientError

from keyturn.testing.ecs_state import Task

_ANSWER = 1.0  # seconds


class ProcessLives:
    """`command`: the program for an address; every task has one of its own. `definitions`: by ARN, as they were registered.

    `secrets_manager`: a boto3 client. `stop` ends what is left. What the programs print is in `log`.
    """

    def __init__(self, command: Callable[[str], Sequence[str]], port: int, secrets_manager: Any, log: Path) -> None:
        self._command, self._port, self._secrets, self._log = command, port, secrets_manager, log
        self.definitions: Mapping[str, Mapping[str, Any]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._http = httpx.Client(timeout=_ANSWER, trust_env=False)

    def begin(self, task: Task) -> None:
        (container,) = self.definitions[task.definition]["containerDefinitions"]
        given = {each["name"]: each["value"] for each in container.get("environment", [])}
        given |= {each["name"]: self._value(each["valueFrom"]) for each in container.get("secrets", [])}
        with self._log.open("ab") as log:
            self._running[task.name] = subprocess.Popen(
                self._command(task.address), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **given}
            )

    def is_ready(self, task: Task) -> bool:
        try:
            return self._http.get(f"http://{task.address}:{self._port}/health/readiness").status_code == 200
        except httpx.HTTPError:
            return False

    def has_ended(self, task: Task) -> bool:
        return task.name in self._running and self._running[task.name].poll() is not None

    def end(self, task: Task, *, at_once: bool) -> None:
        with suppress(ProcessLookupError):
            self._running[task.name].send_signal(signal.SIGKILL if at_once else signal.SIGTERM)

    def stop(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        self._http.close()

    def _value(self, source: str) -> str:
        """Of `valueFrom`: an ARN, and what ECS lets stand behind it."""
        parts = source.split(":")
        key, stage, version, *_ = [*parts[7:], "", "", ""]
        which = {"VersionId": version} if version else {"VersionStage": stage or "AWSCURRENT"}
        try:
            text: str = self._secrets.get_secret_value(SecretId=":".join(parts[:7]), **which)["SecretString"]
        except ClientError:
            raise LookupError("no such value") from None
        return str(json.loads(text)[key]) if key else text
