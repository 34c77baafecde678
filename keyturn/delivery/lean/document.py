"""keyturn.yaml of the plainest form, read with YAML's C parser.

What `keyturn.document` reads the same way, and nothing else: plain and quoted text, whole numbers, true and false, mappings
and lists. No anchors, tags, escapes, block texts, tabs, or characters that the two parsers might take differently.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from keyturn.delivery.lean.declined import Declined
from keyturn.key_shapes import literal_keys

LARGEST = 200_000  # characters
_DEEPEST = 12
_CHARACTERS = re.compile(r"[\n\x20-\x5b\x5d-\x7e\u00a1-\u1fff]*")  # no backslash: it begins an escape
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_RESOLVERS: dict[Any, Any] = yaml.SafeLoader.yaml_implicit_resolvers
_TEXT, _BOOL, _INT = (f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "int"))


def plain_document(source: str) -> dict[str, Any]:
    """The mapping in it. Declined for what is not plain, and where a literal key stands in it."""
    if len(source) > LARGEST or not _CHARACTERS.fullmatch(source) or literal_keys(source):
        raise Declined
    try:
        loader = yaml.CSafeLoader(source)
        try:
            return _document(loader)
        finally:
            loader.dispose()
    except (yaml.YAMLError, AttributeError, ValueError):  # AttributeError: without the C parser
        pass
    raise Declined  # not inside `except`: YAML's errors quote the text


def _document(loader: Any) -> dict[str, Any]:
    """The one document of the stream, without directives before it, and without `...` behind it."""
    start = [loader.get_event(), loader.get_event()]
    if not isinstance(start[1], yaml.DocumentStartEvent) or start[1].version or start[1].tags:
        raise Declined
    value = _value(loader, loader.get_event(), 0)
    end = loader.get_event()
    if not isinstance(end, yaml.DocumentEndEvent) or end.explicit or not isinstance(loader.get_event(), yaml.StreamEndEvent):
        raise Declined
    if not isinstance(value, dict):
        raise Declined
    return value


def _value(loader: Any, event: Any, depth: int) -> Any:
    if depth > _DEEPEST or getattr(event, "anchor", None) is not None or getattr(event, "tag", None) is not None:
        raise Declined
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := loader.get_event(), yaml.SequenceEndEvent):
            items.append(_value(loader, event, depth + 1))
        return items
    if not isinstance(event, yaml.MappingStartEvent):
        raise Declined
    entries: dict[str, Any] = {}
    while not isinstance(event := loader.get_event(), yaml.MappingEndEvent):
        name = _value(loader, event, depth + 1)
        if not isinstance(name, str) or name in entries:
            raise Declined
        entries[name] = _value(loader, loader.get_event(), depth + 1)
    return entries


def _scalar(event: Any) -> str | int | bool:
    text: str = event.value
    style = event.style or ""  # the C parser says "" where the other one says None
    if style not in ("", "'", '"'):
        raise Declined
    kind = _kind(text) if not style else _TEXT
    if kind == _TEXT:
        return text
    if kind == _BOOL and text in ("true", "false"):
        return text == "true"
    if kind == _INT and _NUMBER.fullmatch(text):
        return int(text)
    raise Declined


def _kind(text: str) -> str:
    """What YAML takes a text for that stands without quotes."""
    for tag, pattern in [*_RESOLVERS.get(text[:1], ()), *_RESOLVERS.get(None, ())]:
        if pattern.match(text):
            return str(tag)
    return _TEXT
