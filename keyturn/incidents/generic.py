"""The JSON report of any other scanner: a list of findings, or one, each with the key somewhere in it."""

from __future__ import annotations

from keyturn.incidents.leak import Leak
from keyturn.incidents.reading import at, material, objects
from keyturn.json_object import json_value


def read(body: bytes, findings: str, key: str) -> list[Leak]:
    """`findings`, `key`: where they are, as `a.b.c`; "" is the report itself. What holds no key is left out."""
    found = objects(at(json_value(body), findings))
    return [Leak(text) for each in found if (text := material(at(each, key))) is not None]
