"""A run of the linter: files in, findings out. It changes nothing, and whatever a file holds, it ends and does not fail."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from keyturn.key_shapes import masked
from keyturn.lint.catalogue import (
    EXAMPLE_MASTER_KEY,
    LITERAL_KEY,
    LITERAL_SECRET,
    NOBODY_READS,
    NOT_READ,
    SECRET_MANIFEST,
    UNREADABLE,
)
from keyturn.lint.compose import env_files, file_hits
from keyturn.lint.documents import Context, without_encrypted, yaml_hits
from keyturn.lint.dotenv import dotenv_hits, is_dotenv
from keyturn.lint.finding import At, Finding, Hit, Severity, hit
from keyturn.lint.ignores import ignores
from keyturn.lint.key_text import key_hits
from keyturn.lint.source import Source, files_of, is_dotenv_name, is_yaml_name, read
from keyturn.lint.written import Written

_OF_A_KEY = (SECRET_MANIFEST, LITERAL_KEY, EXAMPLE_MASTER_KEY, LITERAL_SECRET)  # which to tell of one place: the first


@dataclass(slots=True)
class Report:
    """`files` looked at; `ignored`: findings that a comment excepts."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    ignored: int = 0

    def reaches(self, least: Severity) -> bool:
        return any(each.severity.reaches(least) for each in self.findings)


def lint(paths: Iterable[Path], written: Written | None = None, here: Path | None = None) -> Report:
    """Look at files, and into folders. `here`: what paths are told relative to; else the current folder."""
    return _Run(written, here or Path.cwd()).over(paths)


class _Run:
    def __init__(self, written: Written | None, here: Path) -> None:
        self.context = Context(written)
        self.here = here
        self.report = Report()
        self.seen: set[str] = set()

    def over(self, paths: Iterable[Path]) -> Report:
        queue = [file for path in paths for file in files_of(path)]
        while queue:
            path = queue.pop(0)
            real = os.path.realpath(path)
            if real not in self.seen:
                self.seen.add(real)
                queue += self.file(path)
        self.unread_credentials()
        self.report.findings.sort(key=lambda each: (each.path, each.line, each.column, each.rule.id))
        return self.report

    def file(self, path: Path) -> list[Path]:
        """Looks at one; gives the files that it names and that are looked at, too."""
        self.report.files += 1
        source = read(path)
        lines = source.lines
        found = without_encrypted(list(self._hits(source, lines)), source.text)
        found += [each for root in self.context.composed for each in file_hits(root, path.parent)]
        named = [each for root in self.context.composed for each in env_files(root, path.parent)]
        self.context.composed.clear()
        excepted = ignores(lines)
        # libyaml tells of a text that ends too early in the line behind its last.
        hits = _once([replace(each, line=min(each.line, len(lines))) for each in [*found, *excepted.idle]])
        left = [each for each in hits if not excepted.covers(each)]
        self.report.ignored += len(hits) - len(left)
        self.report.findings += self._findings(path, left)
        return named

    def _hits(self, source: Source, lines: Sequence[str]) -> Iterator[Hit]:
        if source.trouble:
            rule = NOT_READ if source.cut else UNREADABLE
            rest = ": only its beginning is searched for keys" if source.cut else ""
            yield hit(rule, At(1, 1, "file"), f"the file {source.trouble}{rest}")
        path = source.path
        if is_dotenv_name(path) or (not is_yaml_name(path) and is_dotenv(lines)):
            yield from dotenv_hits(path, lines)
            return
        yield from key_hits(lines)
        if not source.trouble:
            yield from yaml_hits(source.text, lines, self.context)

    def unread_credentials(self) -> None:
        written, read_by_any = self.context.written, self.context.read
        if written is None or not read_by_any.configurations:
            return
        hits = [
            hit(NOBODY_READS, At(written.lines[credential], 3, f"credentials.{credential}"), _unread(credential, variable))
            for variable, credential in written.variables.items()
            if variable not in read_by_any.names
        ]
        excepted = ignores(read(written.path).lines) if hits else None
        left = [each for each in hits if excepted is None or not excepted.covers(each)]
        self.report.ignored += len(hits) - len(left)
        self.report.findings += self._findings(written.path, left)

    def _findings(self, path: Path, hits: Sequence[Hit]) -> Iterator[Finding]:
        told = masked(Path(os.path.relpath(path, self.here)).as_posix())
        count: Counter[tuple[str, str]] = Counter()
        for each in hits:
            count[each.rule.id, each.place] += 1
            # Made of names alone: a digest of a value could be tried against guesses.
            parts = ("keyturn-lint/v1", each.rule.id, told, each.place, str(count[each.rule.id, each.place]))
            digest = hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:32]
            rule = each.rule
            yield Finding(rule, each.severity, told, each.line, each.column, each.message, rule.remedy, digest)


def _unread(credential: str, variable: str) -> str:
    return f"no LiteLLM configuration that was looked at reads {variable}, which {credential} is delivered as"


def _once(hits: Sequence[Hit]) -> list[Hit]:
    """Each thing once, and of a key the rule that says most about it, in the file's order."""
    kept: dict[tuple[str, int, int, str], Hit] = {}
    spans: dict[int, list[tuple[int, int]]] = {}
    rank = {rule.id: number for number, rule in enumerate(_OF_A_KEY)}
    for each in sorted(hits, key=lambda each: rank.get(each.rule.id, -1)):
        if each.rule.id in rank:
            start, end = each.column, each.column + max(each.width, 1) + 1  # quotes around it
            if any(start < other[1] and other[0] < end for other in spans.get(each.line, ())):
                continue
            spans.setdefault(each.line, []).append((start, end))
        kept.setdefault((each.rule.id, each.line, each.column, each.message), each)
    return sorted(kept.values(), key=lambda each: (each.line, each.column, each.rule.id))
