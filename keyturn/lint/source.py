"""Files as text: which ones a path means, and what is in them. Reads regular files alone, and never more than a limit."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LARGEST = 1_000_000  # characters
_SKIPPED_FOLDERS = {
    *(".git", ".hg", ".svn", "node_modules", "__pycache__", "site-packages"),
    *(".venv", "venv", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"),
}
_BREAK = re.compile(r"\r\n|\n|\r")
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DOTENV_NAME = re.compile(r"\.env(\..+)?|.+\.env")
_YAML_NAME = re.compile(r".+\.ya?ml", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """A file. `trouble`: why its text is not whole, empty when it is; `cut`: only because of its size."""

    path: Path
    text: str
    trouble: str = ""
    cut: bool = False

    @property
    def lines(self) -> list[str]:
        return _BREAK.split(self.text)


def files_of(path: Path) -> Iterator[Path]:
    """A file itself, whatever its name; of a folder the YAML and .env files below it, without following links to folders."""
    if not path.is_dir():
        yield path
        return
    for folder, below, names in os.walk(path):
        below[:] = sorted(each for each in below if each not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            if _YAML_NAME.fullmatch(name) or _DOTENV_NAME.fullmatch(name):
                yield Path(folder) / name


def is_dotenv_name(path: Path) -> bool:
    return _DOTENV_NAME.fullmatch(path.name) is not None and not is_yaml_name(path)


def is_yaml_name(path: Path) -> bool:
    return _YAML_NAME.fullmatch(path.name) is not None


def is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def read(path: Path) -> Source:
    """Never raises. What cannot be decoded is replaced in the text, so that it is searched for keys all the same."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Source(path, "", "is no regular file")
        with path.open("rb") as file:
            content = file.read(4 * LARGEST)
    except (OSError, ValueError) as error:
        return Source(path, "", f"cannot be read ({type(error).__name__})")
    encoding = next((name for mark, name in _BOMS if content.startswith(mark)), "utf-8")
    text = content.decode(encoding, errors="replace")
    if len(text) > LARGEST:
        return Source(path, text[:LARGEST], f"has more than {LARGEST} characters", cut=True)
    if not _decodes(content, encoding):
        return Source(path, text, "is not text in UTF-8")
    return Source(path, text)


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except ValueError:
        return False
    return True
