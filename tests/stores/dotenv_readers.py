"""What the programs that read files of variables find in one.

python-dotenv, the shells and Compose are the real ones. systemd and `docker run` are not to be had in every test: they are
written anew here, after what systemd 252 (`load_env_file` of its library) and Docker 28.2 gave for some thousand files.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Read = Mapping[str, str | None]
UNREADABLE: Read = {}


def python_dotenv(text: str) -> Read:
    from dotenv import dotenv_values

    return dotenv_values(stream=io.StringIO(text.replace("\r\n", "\n").replace("\r", "\n")))  # as a file opened as text


def shell(text: str, folder: Path, program: str = "sh") -> Read:
    """What it exports, also where it stumbles later on."""
    path = folder / "sourced.env"
    path.write_bytes(text.encode(errors="surrogateescape"))
    code = "trap 'env -0' EXIT; set -a; . \"$1\""
    command = [program, "-c", code, program, str(path)]
    told = subprocess.run(command, capture_output=True, check=False, env={"PATH": "/usr/bin:/bin"}, stdin=subprocess.DEVNULL)
    pairs = (line.partition("=") for line in told.stdout.decode(errors="surrogateescape").split("\0"))
    return {name: value for name, _, value in pairs}


def docker_run(text: str) -> Read:
    """The last one counts: all are handed to the process, and most of them take the last."""
    found: dict[str, str | None] = {}
    for line in text.removeprefix("\ufeff").split("\n"):
        line = line.removesuffix("\r").lstrip()
        name, is_set, value = line.partition("=")
        if line and not line.startswith("#"):
            if not name or " " in name or "\t" in name or "\udcff" in line:
                return UNREADABLE
            if is_set:
                found[name] = value
    return found


def systemd(text: str) -> Read:
    """A comment that ends in a backslash goes on, as it does before systemd 254."""
    found: dict[str, str | None] = {}
    state, name, value, blanks = "before", "", "", 0
    if "\0" in text or "\udcff" in text:
        return UNREADABLE

    def keep() -> None:
        found[name.rstrip(" \t")] = value[: len(value) - blanks]

    for sign in text:
        newline, blank = sign in "\r\n", sign in " \t\r\n"
        if state == "before":
            state = "comment" if sign in "#;" else "before" if blank else "name"
            name, value, blanks = sign, "", 0
        elif state == "name":
            state = "before" if newline else "gap" if sign == "=" else state
            name += "" if sign == "=" else sign
        elif state in ("gap", "bare"):
            if newline:
                keep()
                state = "before"
            elif sign == "\\":
                state, blanks = "bare\\", 0
            elif state == "gap" and (sign in "'\"" or blank):
                state = sign if sign in "'\"" else state
            else:
                state, value, blanks = "bare", value + sign, blanks + 1 if blank else 0
        elif state == "bare\\":
            state, value = "bare", value + ("" if newline else sign)
        elif state in ("'", '"'):
            if sign == state:
                state = "gap"
            elif sign == "\\" and state == '"':
                state = '"\\'
            else:
                value += sign
        elif state == '"\\':
            state, value = '"', value + ("" if sign == "\n" else sign if sign in '"\\`$' else "\\" + sign)
        elif state == "comment":
            state = "before" if newline else "comment\\" if sign == "\\" else state
        else:
            state = "comment"
    if state not in ("before", "name", "comment", "comment\\"):
        keep()
    return found


def compose(texts: Sequence[str], folder: Path) -> list[Read]:
    """All of them at once, each as the `env_file` of a service. It must be able to read every one."""
    services = {}
    for number, text in enumerate(texts):
        (folder / f"{number}.env").write_bytes(text.encode(errors="surrogateescape"))
        services[f"s{number}"] = {"image": "x", "env_file": f"{number}.env"}
    (folder / "compose.yaml").write_text(json.dumps({"name": "readers", "services": services}))
    command = [str(Path(sys.executable).with_name("docker-compose")), "config", "--format", "json"]
    told = subprocess.run(command, capture_output=True, check=True, cwd=folder)
    found = json.loads(told.stdout)["services"]
    # It prints a dollar sign as two, since it would replace one.
    return [
        {name: value and value.replace("$$", "$") for name, value in found[f"s{n}"].get("environment", {}).items()}
        for n in range(len(texts))
    ]


QUICK: Mapping[str, Callable[[str], Read]] = {"python-dotenv": python_dotenv, "systemd": systemd, "docker run": docker_run}
