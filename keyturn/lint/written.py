"""What keyturn.yaml says for the linter: which variables each credential delivers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from keyturn import document
from keyturn.config import Config, load
from keyturn.delivery.variables import variable_names
from keyturn.errors import MisconfiguredError


@dataclass(frozen=True, slots=True)
class Written:
    """`variables`: variable -> credential. `lines`: credential -> its line in the file. `tokens`: variables of leases."""

    path: Path
    variables: Mapping[str, str]
    lines: Mapping[str, int]
    tokens: Collection[str] = ()

    def delivers(self, variable: str) -> bool:
        """Whether a credential or a lease does."""
        return variable in self.variables or variable in self.tokens


def written(path: Path) -> Written:
    """Read keyturn.yaml. ConfigError when it is faulty. A credential whose variable is not known is left out."""
    config = load(path)
    lines = document.read(path.read_text(encoding="utf-8-sig")).lines
    tokens = {variable for proxy in config.proxies for variable in config.leased(proxy).values()}
    own_lines = {name: lines.get(("credentials", name), 1) for name in config.credentials}
    return Written(path, _variables(config), own_lines, tokens)


def _variables(config: Config) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, credential in config.credentials.items():
        try:
            given = variable_names(name, credential, config.providers[credential.provider].kind)
        except MisconfiguredError:
            continue
        found.update(dict.fromkeys(given.variables, name))
    return found
