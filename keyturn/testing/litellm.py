"""A real LiteLLM proxy on loopback, for tests and the demo: its configuration, its command, and a start that waits.

LiteLLM lives in an environment of its own (`make setup` builds it); this module only runs its program.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.material import KeyMaterial
from keyturn.model import Member
from keyturn.testing.processes import Processes, free_port, wait_for_http

PROGRAM_VARIABLE = "KEYTURN_LITELLM"
FILE_PROGRAM_VARIABLE = "KEYTURN_LITELLM_FILE"
MASTER_KEY_VARIABLE = "LITELLM_MASTER_KEY"
KEY_VARIABLE = "OPENAI_API_KEY"
READY_SECONDS = 180  # 10 s on a quiet machine, 50 s on a busy one

_OFFLINE = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches a price list when it starts
    "LITELLM_TELEMETRY": "False",
    "LITELLM_MODE": "PRODUCTION",  # else it reads a .env file it happens to find
    "NO_DOCS": "True",
    "NO_REDOC": "True",
    "DISABLE_ADMIN_UI": "True",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """One entry of LiteLLM's model_list: a provider's address, and the variable that holds its key.

    The variable must be set where the proxy runs: for one that is not, LiteLLM silently takes OPENAI_API_KEY.
    """

    id: str
    api_base: str
    model_name: str = "gpt-4o-mini"
    key_variable: str = KEY_VARIABLE
    model: str = "openai/gpt-4o-mini"
    params: Mapping[str, Any] = field(default_factory=dict)  # more litellm_params


@dataclass(frozen=True, slots=True)
class Command:
    """How to start one proxy. `env` is what it needs beside the provider's keys."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


def executable() -> Path:
    """The `litellm` program: $KEYTURN_LITELLM, else the one `make setup` installs. FileNotFoundError says what to do."""
    program = Path(os.environ.get(PROGRAM_VARIABLE) or Path.cwd() / ".proxy" / "bin" / "litellm")
    if not program.is_file():
        raise FileNotFoundError(f"no litellm at {program}: run `make setup`, or name it with ${PROGRAM_VARIABLE}")
    return program


def file_reader() -> Path:
    """A `litellm` that reads key files at each request: $KEYTURN_LITELLM_FILE, else the one `make test` installs."""
    program = Path(os.environ.get(FILE_PROGRAM_VARIABLE) or Path.cwd() / ".proxy-file" / "bin" / "litellm")
    if not program.is_file():
        raise FileNotFoundError(
            f"no litellm at {program}: run `make .proxy-file/.ready`, or name it with ${FILE_PROGRAM_VARIABLE}"
        )
    return program


def write_config(path: Path, deployments: Sequence[Deployment], **sections: Mapping[str, Any]) -> Path:
    """Write a config without any key in it. `sections` adds `litellm_settings`, `router_settings` and the like."""
    config: dict[str, Any] = {
        "model_list": [
            {
                "model_name": each.model_name,
                "litellm_params": {
                    "model": each.model,
                    "api_base": each.api_base,
                    "api_key": f"os.environ/{each.key_variable}",
                    **each.params,
                },
                # Without an id of its own a deployment is named after a digest that changes with the key.
                "model_info": {"id": each.id},
            }
            for each in deployments
        ],
        **sections,
        "general_settings": {
            "master_key": f"os.environ/{MASTER_KEY_VARIABLE}",
            # Else LiteLLM itself calls /v1/models every 300 s, and an old key keeps looking used.
            "disable_model_info_refresh": True,
            **dict(sections.get("general_settings", {})),
        },
    }
    path.write_text(json.dumps(config, indent=2))  # JSON is YAML
    return path


def command(config: Path, port: int, master_key: KeyMaterial, program: Path | None = None) -> Command:
    """The command of one proxy, for a supervisor that brings the provider's key by itself."""
    argv = (str(program or executable()), "--config", str(config), "--host", "127.0.0.1", "--port", str(port))
    return Command(argv, {**_OFFLINE, MASTER_KEY_VARIABLE: master_key.reveal()})


def start(
    processes: Processes,
    name: str,
    config: Path,
    master_key: KeyMaterial,
    keys: Mapping[str, KeyMaterial],
    port: int | None = None,
) -> Member:
    """Start one proxy with its keys (variable name to key) in the environment, and wait until it is ready."""
    port = port or free_port()
    how = command(config, port, master_key)
    url = f"http://127.0.0.1:{port}"
    env = {**how.env, **{variable: key.reveal() for variable, key in keys.items()}}
    process = processes.start(name, how.argv, env=env, cwd=config.parent)
    wait_for_http(f"{url}/health/readiness", seconds=READY_SECONDS, process=process)
    return Member(name, url)
