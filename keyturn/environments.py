"""Environments: several installations from one keyturn.yaml, each with what differs, or from a file each.

The one in use is named by $KEYTURN_ENVIRONMENT. Where the file has a section `environments`, one of them has to be named:
nobody gets production because a variable was forgotten. Where it has none, the name only keeps apart what is Prefect's:
deployments, slots, artifacts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from keyturn.document import Document, Fault, Loc

VARIABLE = "KEYTURN_ENVIRONMENT"
SECTION = "environments"
TAG = "keyturn"  # of every deployment of ours, whatever its environment


def named() -> str:
    """The environment in use; "" where none is named."""
    return os.environ.get(VARIABLE, "")


def deployment(environment: str) -> str:
    """What this environment's deployments are called: `rotate/keyturn`, `rotate/keyturn-staging`."""
    return f"keyturn-{environment}" if environment else "keyturn"


def scoped(environment: str, name: str) -> str:
    """The name of something that Prefect keeps for this environment, apart from those of others."""
    return f"keyturn.{environment}.{name}" if environment else f"keyturn-{name}"


def chosen(document: Document, environment: str) -> Document:
    """The file as it is for this environment: mappings are joined, all else is replaced, and `null` takes an entry out."""
    if not isinstance(document.data, dict) or SECTION not in document.data:
        return document
    every = document.data[SECTION]
    rest = {name: value for name, value in document.data.items() if name != SECTION}
    if not isinstance(every, dict) or not every or not all(isinstance(each, dict) for each in every.values()):
        return _with(document, rest, (SECTION,), "must be a mapping of names to what differs there")
    if environment not in every:
        sentence = f"name the one that is meant, by --environment or ${VARIABLE}"
        return _with(document, rest, (SECTION,), sentence)
    at: Loc = (SECTION, environment)
    moved = {loc[len(at) :]: line for loc, line in document.lines.items() if loc[: len(at)] == at and loc != at}
    return Document(_joined(rest, every[environment]), {**document.lines, **moved}, document.faults)


def over(document: Document, changes: Mapping[str, Any]) -> Document:
    """The file with this over it, joined as an environment is."""
    if not changes or not isinstance(document.data, dict):
        return document
    return Document(_joined(document.data, changes), document.lines, document.faults)


def before(document: Document, environment: str) -> set[str]:
    """The environments of this file that come before this one, by their `follows`; with itself where they go round."""
    every = document.data.get(SECTION) if isinstance(document.data, dict) else None
    found, at = set[str](), environment
    while isinstance(every, dict) and isinstance(every.get(at), dict):
        follows = every[at].get("follows")
        earlier = follows.get("environment") if isinstance(follows, dict) and "file" not in follows else None
        if not isinstance(earlier, str) or earlier in found:
            break
        found.add(at := earlier)
    return found


def of_file(document: Document) -> set[str]:
    """The names of its environments."""
    every = document.data.get(SECTION) if isinstance(document.data, dict) else None
    return {name for name in every if isinstance(name, str)} if isinstance(every, dict) else set()


def _with(document: Document, data: Any, loc: Loc, sentence: str) -> Document:
    return Document(data, document.lines, [*document.faults, Fault(loc, sentence, document.lines.get(loc, 0))])


def _joined(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(base)
    for name, value in over.items():
        if value is None:
            joined.pop(name, None)
        elif isinstance(value, dict) and isinstance(joined.get(name), dict):
            joined[name] = _joined(joined[name], value)
        else:
            joined[name] = value
    return joined
