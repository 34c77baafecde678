"""Key text anywhere in a file, line by line: in values, comments and blocks, whether or not the file can be parsed.

A key with a form of its own is KT101; one that only the name beside it tells is KT102.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from keyturn.key_shapes import is_opaque, key_forms, shown
from keyturn.lint.catalogue import LITERAL_KEY, LITERAL_SECRET
from keyturn.lint.finding import At, Hit, Severity, hit
from keyturn.lint.secret_values import holds_secret, is_stand_in, is_written_out

# A value without a form of its own next to a name: NAME=value, name: value, "name": "value". After a slash it is a
# Kubernetes annotation, such as the digest `checksum/secret`.
_NAMED = re.compile(
    r"(?<![A-Za-z0-9_./-])(?P<name>[A-Za-z_][A-Za-z0-9_.-]{1,80})[\"']?\s{0,5}[:=]\s{0,5}[\"']?(?P<value>[A-Za-z0-9+/=_.-]{20,})"
)
_BEFORE = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,60})[\"']?\s{0,5}[:=]\s{0,5}[\"']?\s{0,5}\Z")
_FILLED_IN = re.compile(r"[$<]|\{\{|\*{3}")  # an address whose password is put in later
_LONGEST_NAME = 80


def key_hits(lines: Sequence[str], severity: Severity | None = None) -> Iterator[Hit]:
    """One for each place that looks like a key."""
    for number, line in enumerate(lines, 1):
        told = 0
        for start, end, what in _places(line):
            if start >= told:
                told = end
                spot = At(number, start + 1, _name_before(line[:start]))
                if what:
                    yield hit(LITERAL_KEY, spot, f"this looks like {what} (not printed)", severity, end - start)
                else:
                    message = "by the name beside it this is a secret (not printed)"
                    yield hit(LITERAL_SECRET, spot, message, severity, end - start)


def _places(line: str) -> list[tuple[int, int, str]]:
    """From where to where, and what it is called; empty for what the name alone tells. At one place the form comes first."""
    found = [
        (form.start, form.end, form.name)
        for form in key_forms(line)
        if not (
            _FILLED_IN.search(line, form.start, form.end) if form.is_address else is_stand_in(line[form.start : form.end])
        )
    ]
    for named in _NAMED.finditer(line):
        value = named["value"]
        if holds_secret(named["name"]) and is_opaque(value) and is_written_out(value) and not is_stand_in(value):
            found.append((named.start("value"), named.end("value"), ""))
    return sorted(found, key=lambda each: (each[0], not each[2]))


def _is_none(text: str, is_address: bool) -> bool:
    return _FILLED_IN.search(text) is not None if is_address else is_stand_in(text)


def _name_before(text: str) -> str:
    found = _BEFORE.search(text[-_LONGEST_NAME - 20 :])
    return shown(found[1]) if found else ""
