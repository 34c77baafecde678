"""Files of variables, one NAME=value a line: who can read them, whether git has them, and names that shadow each other."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyturn.key_shapes import literal_keys
from keyturn.lint.catalogue import COMMITTED, EXAMPLE_MASTER_KEY, OPEN_TO_OTHERS
from keyturn.lint.environment import Variable, shadow_hits
from keyturn.lint.finding import At, Hit, Severity, hit
from keyturn.lint.key_text import key_hits
from keyturn.lint.secret_values import EXAMPLE, holds_secret, is_stand_in, is_written_out

_LINE = re.compile(r"\s{0,20}(?:export\s{1,5})?(?P<name>[A-Za-z_][A-Za-z0-9_]{0,200})\s{0,5}=\s{0,5}(?P<value>.*)")
_COMMENT = re.compile(r"\s#.*")
_GIT_TAKES = 10  # seconds at most


@dataclass(frozen=True, slots=True)
class Keeping:
    """How the file is kept. `tracked`: None where git could not tell."""

    readable_by_all: bool
    tracked: bool | None

    @property
    def is_private(self) -> bool:
        return not self.readable_by_all and self.tracked is False


def is_dotenv(lines: Sequence[str]) -> bool:
    """Whether most of what is said in it are variables: a file of another name may be one."""
    said = [each for each in lines[:500] if each.strip() and not each.lstrip().startswith("#")]
    return bool(said) and sum(_LINE.fullmatch(each) is not None for each in said) > 0.8 * len(said)


def parsed(lines: Sequence[str]) -> list[Variable]:
    found = []
    for number, line in enumerate(lines, 1):
        if match := _LINE.fullmatch(line):
            value = _unquoted(match["value"])
            found.append(Variable(match["name"], value, At(number, match.start("name") + 1, match["name"]), value))
    return found


def dotenv_hits(path: Path, lines: Sequence[str]) -> Iterator[Hit]:
    variables = parsed(lines)
    holding = [each for each in variables if _is_secret(each)]
    keeping = keeping_of(path) if holding else Keeping(False, False)
    if keeping.readable_by_all:
        yield hit(OPEN_TO_OTHERS, At(1), f"{_count(holding)} in a file that every user of this machine can read")
    if keeping.tracked:
        yield hit(COMMITTED, At(1), f"{_count(holding)} in a file that git tracks")
    yield from key_hits(lines, Severity.note if keeping.is_private else None)
    for each in variables:
        if each.value == EXAMPLE:
            yield hit(EXAMPLE_MASTER_KEY, each.spot, "this is the master key of LiteLLM's examples")
    yield from shadow_hits(variables)


def keeping_of(path: Path) -> Keeping:
    try:
        open_to_all = bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        open_to_all = False
    return Keeping(open_to_all, _tracked(path))


def _tracked(path: Path) -> bool | None:
    """Asks git, which runs nothing of the repository's for it."""
    git = shutil.which("git")
    if git is None:
        return None
    options = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
    command = [git, *options, "-C", str(path.parent.resolve()), "ls-files", "--error-unmatch", "--", path.name]
    try:
        asked = subprocess.run(command, capture_output=True, timeout=_GIT_TAKES, check=False, stdin=subprocess.DEVNULL)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return asked.returncode == 0


def _is_secret(variable: Variable) -> bool:
    value = variable.value or ""
    if any(not is_stand_in(key) for key in literal_keys(value)):
        return True
    return holds_secret(variable.name) and is_written_out(value)


def _count(variables: Sequence[Variable]) -> str:
    return "a secret is" if len(variables) == 1 else f"{len(variables)} secrets are"


def _unquoted(text: str) -> str:
    text = text.strip()
    if text[:1] in ("'", '"'):
        return text[1:].partition(text[0])[0]
    return _COMMENT.sub("", f" {text}").strip()
