"""The pages as a whole: each in one part, built without a warning, and whatever can be typed is a command that is there."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from typer.main import get_command

from keyturn.cli import app
from keyturn.config import Config, parse

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
NAMES = [page.name for page in PAGES]
SOURCE = ("bench", "deployments", "docs", "flows", "keyturn", "locks", "tasks", "tests")
SECTIONS = {each.name for each in dataclasses.fields(Config)} - {"path", "environment", "follows"}  # of keyturn.yaml
TERMINAL: Any = get_command(app)
EXAMPLE: dict[str, Any] = yaml.safe_load((ROOT / "deployments" / "keyturn.example.yaml").read_text())
ENDS = (";", "&&", "||", "|", "&", "(", ")", ">", ">>", "<", "<(")  # of a command in a line of a shell


def built() -> ModuleType:
    """docs/built.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("built", DOCS / "built.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_one_part() -> None:
    parts = built().parts((DOCS / "index.md").read_text())
    assert list(parts) == ["Tutorial", "How-tos", "Reference", "Explanation"]
    placed = sorted(page for pages in parts.values() for page in pages)
    there = sorted(page.name for page in DOCS.glob("*.md") if page.name != "index.md")
    assert placed == there, "give each page one line in docs/index.md, in the table of the part it belongs to"


def test_the_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "tutorial" / "index.html").is_file()


# Commands ---------------------------------------------------------------------------------------------------------------


def blocks(page: Path, *languages: str) -> list[str]:
    return re.findall(rf"^ *```(?:{'|'.join(languages)})\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)


def words_of(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """The arguments of each call of a program in the page's shell blocks."""
    for block in blocks(page, "sh", "console", "bash"):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if not re.search(rf"(?:^|[\s(]){program} ", line):
                continue
            words = words_of(line)
            for at, word in enumerate(words):
                starts = at == 0 or words[at - 1] in ENDS or words[at - 1] in ("until", "if", "then", "do", "time")
                starts = starts or "=" in words[at - 1]
                if word == program and starts:
                    rest = words[at + 1 :]
                    end = next((n for n, each in enumerate(rest) if each in ENDS), len(rest))
                    # The number before a redirection is the shell's.
                    if end < len(rest) and rest[end].startswith(">") and end and rest[end - 1] in ("1", "2"):
                        end -= 1
                    yield rest[:end]


def check(arguments: list[str]) -> None:
    """Parse them as the terminal does, and run nothing. A usage error says what does not fit."""
    command = TERMINAL
    context = command.make_context("keyturn", list(arguments))
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_in_a_block_is_one_that_the_terminal_takes(page: Path) -> None:
    for arguments in commands(page, "keyturn"):
        try:
            check(arguments)
        except Exception as error:
            pytest.fail(f"{page.name}: keyturn {shlex.join(arguments)}: {error!r}")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_in_a_sentence_is_there_with_its_options(page: Path) -> None:
    general = {each for parameter in TERMINAL.params for each in parameter.opts}
    for span in re.findall(r"`keyturn ([^`\n]+)`", page.read_text()):
        words = span.partition(" -- ")[0].split()
        named = TERMINAL
        options = set(general)
        for word in words:
            if word in getattr(named, "commands", {}):
                named = named.commands[word]
                options |= {each for parameter in named.params for each in (*parameter.opts, *parameter.secondary_opts)}
        assert named is not TERMINAL or words[0].startswith(("-", "NAME")) or not words[0].islower(), f"{page.name}: {span}"
        assert {word.partition("=")[0] for word in words if word.startswith("--") and word != "--"} <= options, span


def test_commands_are_found_where_people_type_them() -> None:
    found = list(commands(DOCS / "tutorial.md", "keyturn"))
    assert ["rotate", "openai-vault", "--dry-run"] in found and ["serve"] in found
    assert ["audit", "show", "openai-vault"] in found, "also behind until"
    with pytest.raises(Exception, match="nowhere"):
        check(["rotate", "openai-prod", "--nowhere"])


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_target_of_make_in_a_block_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for arguments in commands(page, "make"):
        named = {each for each in arguments if re.fullmatch(r"[a-z-]+", each)}
        assert named <= targets, f"{page.name}: make {shlex.join(arguments)}"


# Files ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_file_of_the_project_that_is_named_is_there(page: Path) -> None:
    named = page.read_text()
    for path in re.findall(rf"(?<![\w./-])((?:{'|'.join(SOURCE)})/[\w./@-]*\.[a-z]+)\b", named):
        beside = ROOT / "tests" / path  # testing.md names tests so
        assert (ROOT / path).exists() or beside.exists() or "acme" in path, f"{page.name} names {path}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_part_of_a_keyturn_yaml_is_good_in_a_whole_one(page: Path) -> None:
    """Put into the example, which has every kind of part."""
    for block in blocks(page, "yaml"):
        part = yaml.safe_load(block) if "{{" not in block else None
        if not isinstance(part, dict) or not set(part) <= SECTIONS:
            continue
        parse(yaml.safe_dump(around(part), sort_keys=False))


def around(part: dict[str, Any]) -> dict[str, Any]:
    """The example with this over it, and with the proxies that it names."""
    whole = copy.deepcopy(EXAMPLE)
    for name in part.get("leases", {}):
        whole["credentials"].pop(name, None)
    for name, content in part.items():
        both = isinstance(content, dict) and isinstance(whole.get(name), dict)
        whole[name] = {**whole[name], **content} if both else content
    for settings in part.get("credentials", {}).values():
        for proxy in (*settings.get("proxies", []), settings.get("canary", {}).get("proxy", "local")):
            members = [f"http://127.0.0.1:{5000 + len(whole['proxies'])}"]
            whole["proxies"].setdefault(proxy, {**whole["proxies"]["local"], "members": members})
    return whole


def test_the_tutorials_keyturn_yaml_is_a_good_one() -> None:
    (text,) = re.findall(
        r"^cat > keyturn.yaml <<END\n(.*?)^END$", (DOCS / "tutorial.md").read_text(), re.DOTALL | re.MULTILINE
    )
    addresses = (f"http://127.0.0.1:{port}" for port in range(4001, 4100))
    parse(re.sub(r"\$DEMO_\w+", lambda _: next(addresses), text.replace("$PWD", "/srv/keyturn")))
