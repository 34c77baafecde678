"""keyturn.yaml as text: to plain data, and the line of every place in it.

Read more narrowly than YAML allows. A name that stands twice in one mapping is a fault, where YAML readers silently take
the last. Names are text. Tags, which make objects of text, are faults, and dates are text. Anchors, aliases and `<<` work;
what they may multiply to, the nesting, and the size are limited, so that no file takes minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import SafeConstructor
from yaml.reader import ReaderError

from keyturn.json_object import has_half_a_character

Loc = tuple[str | int, ...]

LARGEST = 2_000_000  # characters: some thousand credentials
_DEEPEST = 24  # levels; a configuration has six
_MOST = 200_000  # values, with each alias counted as what it stands for
_LONGEST_NUMBER = 40
_NOT_YAML = "is not YAML from here on: check indentation, colons, quotes and brackets"
_AS_TEXT = ("str", "timestamp", "value", "merge")  # a date, `=` and `<<` standing alone are text like any other
_HALF = "has half a character in it (a surrogate, as \\ud800 is one)"
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the text, and in which line (0: it has none)."""

    loc: Loc
    sentence: str
    line: int


@dataclass(frozen=True, slots=True)
class Document:
    """`data`: of dict, list, str, int, float, bool and None; None for a text that cannot be read."""

    data: Any
    lines: Mapping[Loc, int]
    faults: Sequence[Fault]


def read(source: str) -> Document:
    """Never raises, and quotes nothing of the text in its faults."""
    if len(source) > LARGEST:
        return _unreadable(f"has more than {LARGEST} characters: keyturn reads no file of that size", 0)
    loader = _Loader("")
    try:
        loader = _Loader(source)
        node = loader.get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two: an escape that is no character, a number
        failure = _unreadable(*_why(error, source, loader))
    else:
        reader = _Reader()
        data = None if node is None else reader.value(node, ())
        return Document(None if reader.count >= _MOST else data, reader.lines, reader.faults)
    return failure  # not inside `except`: YAML's errors quote the text


def _unreadable(sentence: str, line: int) -> Document:
    return Document(None, {}, [Fault((), sentence, line)])


def _why(error: Exception, source: str, loader: _Loader) -> tuple[str, int]:
    if isinstance(error, ReaderError):
        return "has a character that YAML does not allow", source.count("\n", 0, int(error.position)) + 1
    mark = getattr(error, "problem_mark", None)
    line = (mark.line if mark is not None else loader.line) + 1
    if isinstance(error, _TooDeepError):
        return "is nested too deeply", line
    if isinstance(error, ComposerError):
        return "has an alias without its anchor, an anchor that stands twice, or a second document", line
    return _NOT_YAML, line


class _TooDeepError(yaml.MarkedYAMLError):
    pass


class _Loader(yaml.SafeLoader):
    """Composes nodes, and stops at a depth that would exhaust Python's stack."""

    def __init__(self, source: str) -> None:
        self.depth = 0
        super().__init__(source)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # not in the stubs
            raise _TooDeepError(problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    """From nodes to data."""

    def __init__(self) -> None:
        self.lines: dict[Loc, int] = {}
        self.faults: list[Fault] = []
        self.count = 0
        self._open: list[yaml.Node] = []  # the nodes around this one
        self._numbers = SafeConstructor()

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        self.lines.setdefault(loc, _line(node))
        if not self._is_counted(node, loc):
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, loc)
        if not self._may_enter(node, loc):
            return None
        data: dict[str, Any] | list[Any] = {} if isinstance(node, yaml.MappingNode) else []
        if node.tag != f"{_TAG}{'map' if isinstance(data, dict) else 'seq'}":
            self._tagged(node, loc)
            return None
        self._open.append(node)
        if isinstance(data, dict):
            self._entries(node, loc, data)
        else:
            data += [self.value(each, (*loc, index)) for index, each in enumerate(node.value)]
        self._open.pop()
        return data

    def _is_counted(self, node: yaml.Node, loc: Loc) -> bool:
        self.count += 1
        if self.count == _MOST:
            self._fault(loc, f"has more than {_MOST} values, or aliases that multiply to more", node)
        return self.count < _MOST

    def _may_enter(self, node: yaml.Node, loc: Loc) -> bool:
        if any(node is each for each in self._open):
            self._fault(loc, "an alias stands inside its own anchor", node)
            return False
        if len(self._open) >= _DEEPEST:
            self._fault(loc, "is nested too deeply", node)
            return False
        return True

    def _scalar(self, node: yaml.ScalarNode, loc: Loc) -> Any:
        kind, text = node.tag.removeprefix(_TAG), node.value
        if kind in _AS_TEXT:
            if not has_half_a_character(text):
                return text
            self._fault(loc, _HALF, node)
            return None
        if kind == "null":
            return None
        if kind not in ("bool", "int", "float"):
            self._tagged(node, loc)
            return None
        try:
            if len(text) <= _LONGEST_NUMBER:
                return getattr(self._numbers, f"construct_yaml_{kind}")(node)
        except (ValueError, LookupError, ArithmeticError):  # a tag that its text does not fit, digits that are none
            pass
        self._fault(loc, "is no number, true or false that can be read: put text into quotes", node)
        return None

    def _entries(self, mapping: yaml.Node, loc: Loc, data: dict[str, Any], merged: bool = False) -> None:
        """Put a mapping's entries into `data`, then those that it merges by `<<`: they give way to what is there."""
        first: dict[str, int] = {}
        for key, value in mapping.value:
            if key.tag == f"{_TAG}merge":
                continue
            name, line = key.value, _line(key)
            if not isinstance(key, yaml.ScalarNode) or not key.tag.startswith(_TAG):
                self._fault(loc, "has something for a name that is not text", key)
            elif has_half_a_character(name):
                self._fault((*loc, name), _HALF, key)
            elif name in first:
                self._fault((*loc, name), f"stands here twice, first in line {first[name]}: keep one of them", key)
            elif name not in data or not merged:
                self.lines[*loc, name] = line
                data[name] = self.value(value, (*loc, name))
            first.setdefault(str(name), line)
        for key, value in mapping.value:
            if key.tag == f"{_TAG}merge":
                for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    self._merge(each, loc, data)

    def _merge(self, node: yaml.Node, loc: Loc, data: dict[str, Any]) -> None:
        if not isinstance(node, yaml.MappingNode):
            self._fault(loc, "<< takes a mapping, or a list of mappings", node)
        elif self._is_counted(node, loc) and self._may_enter(node, loc):
            self._open.append(node)
            self._entries(node, loc, data, merged=True)
            self._open.pop()

    def _tagged(self, node: yaml.Node, loc: Loc) -> None:
        self._fault(loc, "has a tag (!...), and tags mean nothing here: take it away", node)

    def _fault(self, loc: Loc, sentence: str, node: yaml.Node) -> None:
        self.faults.append(Fault(loc, sentence, _line(node)))


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1
