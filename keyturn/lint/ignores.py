"""`# keyturn: ignore KT102 the reason`: an exception, on its line or on a comment line right above."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from keyturn.lint.catalogue import IDLE_IGNORE, RULES
from keyturn.lint.finding import At, Hit, hit

_IGNORE = re.compile(r"#\s{0,20}keyturn:\s{0,20}ignore\b(?P<rest>.{0,500})", re.IGNORECASE)
_RULES = re.compile(r"\s*(?P<ids>KT\d{3}(?:\s*,\s*KT\d{3})*)(?P<reason>.*)", re.IGNORECASE)
_A_WORD = re.compile(r"[^\W\d_]{2,}")
_MARK = "keyturn"


@dataclass(frozen=True, slots=True)
class Ignores:
    """What is ignored, by line; and the exceptions that are none."""

    rules: Mapping[int, frozenset[str]]
    alone: frozenset[int]  # lines that are nothing but such a comment
    idle: Sequence[Hit]

    def covers(self, found: Hit) -> bool:
        if found.rule is IDLE_IGNORE:
            return False
        line = found.line
        if found.rule.id in self.rules.get(line, ()):
            return True
        while (line := line - 1) in self.alone:
            if found.rule.id in self.rules.get(line, ()):
                return True
        return False


def ignores(lines: Sequence[str]) -> Ignores:
    rules: dict[int, frozenset[str]] = {}
    alone: set[int] = set()
    idle: list[Hit] = []
    for number, line in enumerate(lines, 1):
        found = _IGNORE.search(line) if _MARK in line else None
        if found is None:
            continue
        if not line[: found.start()].strip():
            alone.add(number)
        named = frozenset(_named(found["rest"]))
        if named:
            rules[number] = named
        else:
            idle.append(
                hit(IDLE_IGNORE, At(number, found.start() + 1), "this ignores nothing: it names no rule with a reason")
            )
    return Ignores(rules, frozenset(alone), idle)


def _named(rest: str) -> Iterator[str]:
    """The rules that are ignored; none where there is no reason, or one of them is no rule."""
    found = _RULES.fullmatch(rest)
    if found is None or not _A_WORD.search(found["reason"]):
        return
    named = [each.strip().upper() for each in found["ids"].split(",")]
    if all(each in RULES for each in named):
        yield from named
