"""YAML as a tree that knows where each value stands: several documents in a file, nothing built, nothing executed.

Events come from libyaml where it is there, and are put together here: a depth, a count and merges have their limits, so
that no file takes minutes. An alias is the node it stands for, and is visited where its anchor is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

from keyturn.key_shapes import shown

_DEEPEST = 60
_MOST = 200_000  # nodes, and names that `<<` copies
_LONGEST_PLACE = 300
_STANDARD = ("!", "tag:yaml.org,2002:")
_COMPOSE_TAGS = ("!reset", "!override")  # of Docker Compose, for merging files
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text. `plain`: without quotes. `style`: `|` or `>` for a block."""

    text: str
    plain: bool
    style: str
    line: int
    column: int
    place: str

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: list[Node]
    line: int
    column: int
    place: str


@dataclass(frozen=True, slots=True)
class Map:
    """Names and values: its own, then what it merges by `<<`. `keys`: where each name stands."""

    values: dict[str, Node]
    keys: dict[str, Scalar]
    line: int
    column: int
    place: str

    def at(self, *names: str) -> Node | None:
        """What these names lead to; None where they do not."""
        found: Node | None = self
        for name in names:
            found = found.values.get(name) if isinstance(found, Map) else None
        return found

    def text(self, *names: str) -> str:
        """The text there; empty for null, for a list, or for nothing."""
        return text_of(self.at(*names))

    def map(self, *names: str) -> Map:
        """The mapping there; an empty one for anything else."""
        found = self.at(*names)
        return found if isinstance(found, Map) else Map({}, {}, self.line, self.column, self.place)

    def list(self, *names: str) -> list[Node]:
        """The list there; an empty one for anything else."""
        found = self.at(*names)
        return found.items if isinstance(found, Items) else []


Node = Scalar | Items | Map


def text_of(node: Node | None) -> str:
    return node.text if isinstance(node, Scalar) and not node.is_null else ""


@dataclass(frozen=True, slots=True)
class Root:
    """A document. `opaque`: why its structure means nothing here, empty when it does."""

    node: Node | None
    line: int
    opaque: str = ""


@dataclass(frozen=True, slots=True)
class Tree:
    """The documents up to where the text could be read. `failure`: why not further, `limit`: it is a matter of size."""

    roots: list[Root]
    failure: str = ""
    limit: bool = False
    line: int = 0


class _LimitError(Exception):
    def __init__(self, what: str, line: int) -> None:
        self.what, self.line = what, line


def read(text: str) -> Tree:
    """Never raises. Of what cannot be read the documents before it are given, and no word of the text."""
    roots: list[Root] = []
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, DocumentEndEvent):
                roots.append(builder.root())
                builder.begin(builder.line)
            else:
                builder.take(event)
    except _LimitError as error:
        return Tree(roots, error.what, True, error.line)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else builder.line
    else:
        return Tree(roots)
    return Tree(roots, "is not YAML from here on", False, line)


def walk(node: Node | None) -> Iterator[tuple[str, Scalar | None, Node]]:
    """Every value in it with its name (empty in a list) and where the name stands; one with several names once."""
    seen: set[int] = set()
    queue: list[Node] = [node] if node is not None else []
    while queue:
        each = queue.pop()
        inner: list[tuple[str, Scalar | None, Node]] = []
        if isinstance(each, Map):
            inner = [(name, each.keys[name], value) for name, value in each.values.items()]
        elif isinstance(each, Items):
            inner = [("", None, value) for value in each.items]
        for name, key, value in inner:
            if id(value) not in seen:
                seen.add(id(value))
                yield name, key, value
                queue.append(value)


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    node: Map | Items
    anchor: str
    key: Scalar | None = None
    waits_for_value: bool = False
    merges: list[Node] = field(default_factory=list)

    def place_of_next(self) -> str:
        where = self.node.place
        if isinstance(self.node, Items):
            return f"{where}[{len(self.node.items)}]"[:_LONGEST_PLACE]
        name = shown(self.key.text) if self.waits_for_value and self.key is not None else ""
        return f"{where}.{name}".strip(".")[:_LONGEST_PLACE]


class _Builder:
    def __init__(self) -> None:
        self.count = 0
        self.begin(1)

    def begin(self, line: int) -> None:
        self.line = self.first = line
        self.open: list[_Open] = []
        self.anchors: dict[str, Node] = {}
        self.top: Node | None = None
        self.opaque = ""

    def root(self) -> Root:
        return Root(self.top, self.first, self.opaque)

    def take(self, event: Any) -> None:
        self.line = event.start_mark.line + 1
        if isinstance(event, DocumentStartEvent):
            self.begin(self.line)
        elif isinstance(event, NodeEvent):
            self._node(event)
        elif isinstance(event, CollectionEndEvent):
            closed = self.open.pop()
            if isinstance(closed.node, Map):
                self._merge(closed.node, closed.merges)
            self._add(closed.node, closed.anchor)

    def _node(self, event: NodeEvent) -> None:
        self.count += 1
        if self.count > _MOST:
            raise _LimitError(f"has more than {_MOST} values", self.line)
        if isinstance(event, AliasEvent):
            if event.anchor not in self.anchors:
                raise ValueError("an alias without its anchor")
            self._add(self.anchors[event.anchor], "")
            return
        tag = getattr(event, "tag", None) or ""
        if tag and not tag.startswith(_STANDARD[1]) and tag != _STANDARD[0] and tag not in _COMPOSE_TAGS:
            self.opaque = self.opaque or "has tags (!...) whose meaning only their own program knows"
        column = (event.start_mark.column if event.start_mark is not None else 0) + 1
        place = self.open[-1].place_of_next() if self.open else ""
        anchor = event.anchor or ""
        if isinstance(event, ScalarEvent):
            text = "" if tag == "!reset" else event.value
            plain = (not event.style and tag != "!") or tag == "!reset"
            self._add(Scalar(text, plain, event.style or "", self.line, column, place), anchor)
            return
        if len(self.open) >= _DEEPEST:
            raise _LimitError(f"is nested more than {_DEEPEST} deep", self.line)
        new: Map | Items = Items([], self.line, column, place)
        if isinstance(event, MappingStartEvent):
            new = Map({}, {}, self.line, column, place)
        self.open.append(_Open(new, anchor))

    def _add(self, node: Node, anchor: str) -> None:
        if anchor:
            self.anchors[anchor] = node
        if not self.open:
            self.top = node
            return
        there = self.open[-1]
        if isinstance(there.node, Items):
            there.node.items.append(node)
        elif not there.waits_for_value:
            there.waits_for_value = True
            there.key = node if isinstance(node, Scalar) else None
            if there.key is None:
                self.opaque = self.opaque or "has a name that is no text, as an unquoted {{ ... }} of a template makes one"
        else:
            there.waits_for_value = False
            if there.key is not None and there.key.text == "<<" and there.key.plain:
                there.merges += node.items if isinstance(node, Items) else [node]
            elif there.key is not None:
                there.node.values[there.key.text] = node
                there.node.keys[there.key.text] = there.key

    def _merge(self, node: Map, merges: list[Node]) -> None:
        for each in merges:
            if isinstance(each, Map):
                self.count += len(each.values)
                if self.count > _MOST:
                    raise _LimitError(f"has merges (<<) that multiply to more than {_MOST} values", self.line)
                for name, value in each.values.items():
                    if name not in node.values:
                        node.values[name], node.keys[name] = value, each.keys[name]


def named(values: Mapping[str, Node]) -> Iterator[tuple[str, Map]]:
    """Those entries of a mapping that are mappings themselves."""
    for name, value in values.items():
        if isinstance(value, Map):
            yield name, value
