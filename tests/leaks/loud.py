"""An installation that tells everything: each part at DEBUG, with metrics, every output kept in its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from keyturn.testing.embedded import Database, keyturn_program
from keyturn.testing.leaks import Needles
from keyturn.testing.processes import free_port
from keyturn.testing.watch import Watch
from tests.e2e.conftest import ROOT, Installation

# Not asyncio: the handler that sends lines to Prefect starts a loop, which says so to the handler that waits for it.
LOGGERS = ("keyturn", "boto3", "botocore", "httpcore", "httpx", "hvac", "requests", "urllib3")
PROPAGATION = "1s"


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a command: how it ended, and all that it printed."""

    code: int
    printed: str


class Loud(Installation):
    """See the module. Commands are run by a zygote (tests/leaks/zygote.py), while all processes are watched."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.metrics_port = free_port()
        elsewhere = {name: str(folder / name.lower()) for name in ("HOME", "TMPDIR", "CWD")}
        for path in elsewhere.values():
            Path(path).mkdir(parents=True)
        # What a library writes at home, into a temporary file or where it stands is found in the folder too.
        self.cwd = Path(elsewhere.pop("CWD"))
        settings = {"PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1", "KEYTURN_ROOT": str(ROOT)}
        super().__init__(folder, overlap="0s", proxy="stand-in", environ={**elsewhere, **settings})
        self.database: Database = database
        self.output = folder / "output"
        self.output.mkdir()
        self._count = 0
        self._client = httpx.Client(timeout=1, trust_env=False)

    @property
    def supervisor(self) -> list[str | Path]:
        return [sys.executable, "-m", "tests.leaks.loud_exec"]

    def start(self) -> None:
        self.start_provider()
        self.start_vault()
        self.start_aws()
        self.write_configuration()
        self.hasten()
        self.start_members(drain="0s")
        self.start_prefect(
            database=self.database,
            settings={
                "PREFECT_LOGGING_LEVEL": "DEBUG",
                "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG",
                "PREFECT_LOGGING_EXTRA_LOGGERS": ",".join(LOGGERS),
                "PREFECT_LOGGING_TO_API_ENABLED": "true",
                "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
                "PREFECT_LOGGING_LOG_PRINTS": "true",
                "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
                "PREFECT_INTERNAL_LOGGING_LEVEL": "DEBUG",
                "PREFECT_SERVER_LOGGING_LEVEL": "DEBUG",
                "PREFECT_SERVER_METRICS_ENABLED": "true",
                "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
            },
        )

    @property
    def full_environ(self) -> dict[str, str]:
        """Of a program that is started here."""
        return {**os.environ, **self.environ}

    def hasten(self) -> None:
        """What has to be waited for in earnest takes a second."""
        settings = json.loads(self.config.read_text())
        for credential in settings["credentials"].values():
            credential["canary"]["propagation"] = PROPAGATION
        settings["sweep"] = {"backoff": "1s", "longest_backoff": "1s"}
        self.config.write_text(json.dumps(settings, indent=2))

    # Runs -----------------------------------------------------------------------------------------------------------

    @contextmanager
    def at_work(self) -> Iterator[Watch]:
        """The zygote, ready for `run`, and the watch over all processes."""
        # Not the server's libraries: at DEBUG they tell each statement to its database, which is searched itself.
        client = {
            "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
            "PREFECT_CLIENT_METRICS_ENABLED": "true",
            "PREFECT_CLIENT_METRICS_PORT": str(self.metrics_port),
        }
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.leaks.zygote"],
            cwd=self.cwd,
            env={**os.environ, **self.environ, **client},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.output / "zygote.err").open("w"),
            text=True,
        )
        try:
            self._hear("ready")
            with Watch(Needles([self.literal]), self._supervisors, self._keep_client_metrics) as watch:
                yield watch
        finally:
            self._zygote.communicate(timeout=30)

    def run(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        fault: str = "",
        moment: tuple[str, str] | None = None,
        act: Callable[[int], bool] | None = None,
    ) -> Ran:
        """One command. At its `moment`, a step and words that it says, `act` is given its process id; True: it goes on."""
        self._count += 1
        output = self.output / f"{self._count:02}-{words[0]}"
        asked = {"words": words, "env": env or {}, "fault": fault, "moment": moment, "output": str(output)}
        self._tell(json.dumps(asked))
        heard = self._hear()
        if act is not None:
            assert "at" in heard, f"{moment} was not reached: {self._printed(output)}"
            if act(heard["at"]):
                self._tell("go")
            heard = self._hear("code")
        return Ran(heard["code"], self._printed(output))

    def run_program(self, *words: str, env: Mapping[str, str] | None = None) -> Ran:
        """One command as a user starts it."""
        self._count += 1
        output = self.output / f"{self._count:02}-{words[0]}-program"
        with Path(f"{output}.out").open("w") as out, Path(f"{output}.err").open("w") as err:
            done = subprocess.run(
                [keyturn_program(), *words],
                cwd=self.cwd,
                env={**os.environ, **self.environ, **(env or {})},
                stdout=out,
                stderr=err,
                timeout=300,
                check=False,
            )
        return Ran(done.returncode, self._printed(output))

    def prefect(self, method: str, path: str, body: Any = None) -> Any:
        """An answer of Prefect's API."""
        answer = self.ask_prefect(method, path, body)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def ask_prefect(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """An answer, a refusal too. 503 is SQLite's "database is locked": Prefect asks to try again."""
        for _ in range(20):
            answer = httpx.request(method, f"{self.prefect_url}/api{path}", json=body, timeout=60, trust_env=False)
            if answer.status_code != 503:
                break
            time.sleep(0.5)
        return answer

    @staticmethod
    def _printed(output: Path) -> str:
        return "".join(Path(f"{output}.{ending}").read_text() for ending in ("out", "err"))

    def _tell(self, line: str) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(line + "\n")
        self._zygote.stdin.flush()

    def _hear(self, wanted: str = "") -> dict[str, Any]:
        assert self._zygote.stdout is not None
        heard: dict[str, Any] = json.loads(self._zygote.stdout.readline() or '{"ended": true}')
        assert wanted in heard or not wanted, heard
        return heard

    def _supervisors(self) -> set[int]:
        return {process.pid for name, process in list(self.processes.running.items()) if name.startswith("member-")}

    def _keep_client_metrics(self) -> None:
        """What a run offers to Prometheus, while it lives."""
        with suppress(httpx.HTTPError):
            found = self._client.get(f"http://127.0.0.1:{self.metrics_port}/metrics")
            (self.output / f"{self._count:02}.metrics").write_text(found.text)
