"""What keyturn.yaml says for the linter: which variables each credential delivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyturn import document
from keyturn.config import Config, load
from keyturn.delivery.variables import variable_names
from keyturn.errors import MisconfiguredError


@dataclass(frozen=True, slots=True)
class Written:
    """`variables`: variable -> credential. `lines`: credential -> its line in keyturn.yaml."""

    path: Path
    variables: Mapping[str, str]
    lines: Mapping[str, int]


def written(path: Path) -> Written:
    """Read keyturn.yaml. ConfigError when it is faulty. A credential whose variable is not known is left out."""
    config = load(path)
    lines = document.read(path.read_text(encoding="utf-8-sig")).lines
    return Written(path, _variables(config), {name: lines.get(("credentials", name), 1) for name in config.credentials})


def _variables(config: Config) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, credential in config.credentials.items():
        try:
            given = variable_names(name, credential, config.providers[credential.provider].kind)
        except MisconfiguredError:
            continue
        found.update(dict.fromkeys(given.variables, name))
    return found
