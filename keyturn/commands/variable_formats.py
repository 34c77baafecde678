"""keyturn env: how variables are written down, so that each reader reads back what the store holds."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping

import yaml

from keyturn.errors import MisconfiguredError

# A DNS subdomain, as Kubernetes names Secrets (its page "Object Names and IDs").
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SECRET_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")

Writer = Callable[[Mapping[str, str]], str]


def writer(style: str, name: str | None) -> Writer:
    """The function that writes them. `name`: of a Secret. MisconfiguredError where it is missing, or means nothing."""
    if style != "k8s":
        if name is not None:
            raise MisconfiguredError("--name goes with --format k8s")
        return _STYLES[style]
    if name is None or not _SECRET_NAME.fullmatch(name):
        raise MisconfiguredError(
            "--format k8s needs the --name of the Secret: lower case letters, digits, - and dots between them",
            remedy="add --name litellm-keys, or another",
        )
    return lambda values: _as_secret(name, values)


def _as_shell(values: Mapping[str, str]) -> str:
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _as_dotenv(values: Mapping[str, str]) -> str:
    """Bare or in single quotes: what shells, python-dotenv and Compose read alike. MisconfiguredError for the rest."""
    for name, value in values.items():
        if set(value) & set("'\\$"):
            raise MisconfiguredError(
                f"the key for {name} has a quote, a backslash or a dollar sign in it",
                remedy="use --format shell or --format json: readers of dotenv take these characters differently",
            )
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _as_json(values: Mapping[str, str]) -> str:
    return json.dumps(values) + "\n"


def _as_compose(values: Mapping[str, str]) -> str:
    """`environment:` of a service. Compose replaces $NAME also inside of quotes, and reads $$ as one."""
    return _yaml({"environment": {name: value.replace("$", "$$") for name, value in values.items()}})


def _as_secret(name: str, values: Mapping[str, str]) -> str:
    return _yaml(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "stringData": dict(values)}
    )


def _yaml(document: Mapping[str, object]) -> str:
    """Every text in double quotes: so no reader takes one for a number, a date or `no`, whichever YAML it speaks."""
    text: str = yaml.safe_dump(document, default_style='"', sort_keys=False, width=2**20)
    return text


_STYLES: Mapping[str, Writer] = {
    "shell": _as_shell,
    "dotenv": _as_dotenv,
    "json": _as_json,
    "compose": _as_compose,
}
