"""What a vendor's answer to a call with the key under test says about the key: one table for each vendor.

Two things alone decide. A 2xx of the vendor's own form accepts. A row that is marked dead rejects, and no row may be that
reads a throttled, unpaid, forbidden or failing answer, or a web page, as a dead key: `Verdicts` refuses such a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyturn.json_object import inside
from keyturn.model import Judgement, Verdict
from keyturn.providers.admin_api import Answer

_NEVER_DEAD = (402, 408, 429)
_LONGEST = 2000  # characters of a message that are looked at
_UNDECIDED = {
    401: "401, but not in the words for a dead key",
    402: "the account has a billing problem (402), which says nothing about the key",
    403: "the key may not do this (403), which says nothing of whether it lives",
    429: "too many requests (429)",
}


@dataclass(frozen=True, slots=True)
class Row:
    """An answer of this status; with `code` only where the vendor's error code is exactly that, with `says` only where its
    message has that in it (in any case). `words`: what it means. `dead`: the key is refused for itself. `known`: how the
    fact is known: V verified, S secondary, R recalled.
    """

    status: int
    words: str
    code: str | None = None
    says: str | None = None
    dead: bool = False
    known: str = "V"

    @property
    def text(self) -> str:
        """As it is written in the setting `refused_as`."""
        return f"{self.status}" + (f":{self.code or self.says}" if self.code or self.says else "")


def error_code(document: Mapping[str, Any]) -> str:
    """`error.code`, or `error.type`, or `code`: where most vendors have it."""
    for path in (("error", "code"), ("error", "type"), ("code",), ("error",)):
        found = inside(document, *path)
        if isinstance(found, str):
            return found
    return ""


def error_message(document: Mapping[str, Any]) -> str:
    for path in (("error", "message"), ("message",), ("detail",), ("error",)):
        found = inside(document, *path)
        if isinstance(found, str):
            return found[:_LONGEST]
    return ""


class Verdicts:
    """The table of one vendor. `accepted`: whether a 2xx is of the vendor's own form. `statuses`: which of them accept a
    key; none: all. ValueError for a reckless table."""

    def __init__(
        self,
        vendor: str,
        rows: Sequence[Row],
        accepted: Callable[[Mapping[str, Any]], bool],
        code: Callable[[Mapping[str, Any]], str] = error_code,
        message: Callable[[Mapping[str, Any]], str] = error_message,
        statuses: Collection[int] = (),
    ) -> None:
        for row in rows:
            if row.dead and (row.status in _NEVER_DEAD or row.status >= 500 or row.status < 400):
                raise ValueError(f"{row.status} never says that a key is dead")
            if row.dead and row.status != 401 and not (row.code or row.says):
                raise ValueError(f"a bare {row.status} never says that a key is dead")
        self.vendor, self.rows = vendor, tuple(rows)
        self._accepted, self._code, self._message, self._statuses = accepted, code, message, statuses

    def refused_as(self, texts: Sequence[str]) -> Verdicts:
        """With these rows in place of those that are dead: `STATUS` or `STATUS:CODE`. ValueError for reckless ones."""
        rows = []
        for text in texts:
            status, _, code = text.partition(":")
            if not re.fullmatch(r"4[0-9]{2}", status):
                raise ValueError("refused_as: STATUS, or STATUS:CODE, with a status from 400 to 499")
            words = f"{self.vendor} does not accept the key ({text})"
            # Whether a vendor calls it a code or says it in a sentence is not for a user to know.
            rows += [Row(int(status), words, code=code or None, dead=True, known="configured")]
            rows += [Row(int(status), words, says=code, dead=True, known="configured")] if code else []
        alive = [row for row in self.rows if not row.dead]
        return Verdicts(self.vendor, [*rows, *alive], self._accepted, self._code, self._message, self._statuses)

    def judge(self, answer: Answer) -> Judgement:
        """The first row that fits. INDETERMINATE for everything else, and for what is no JSON object."""
        status = answer.status
        if answer.is_success:
            if answer.is_json and status in (self._statuses or (status,)) and self._accepted(answer.document):
                return Judgement(Verdict.ACCEPTED, f"{self.vendor} accepts the key")
            return Judgement(Verdict.INDETERMINATE, f"what answered {status} is not {self.vendor}")
        if not answer.is_json:
            return Judgement(Verdict.INDETERMINATE, f"what answered {status} is not {self.vendor}: no JSON object")
        code, message = self._code(answer.document), self._message(answer.document).lower()
        for row in self.rows:
            if row.status != status or (row.code is not None and row.code != code):
                continue
            if row.says is not None and row.says.lower() not in message:
                continue
            return Judgement(Verdict.REJECTED if row.dead else Verdict.INDETERMINATE, row.words)
        otherwise = f"the answer ({status}) says nothing about the key"
        return Judgement(Verdict.INDETERMINATE, _UNDECIDED.get(status, otherwise))


def dead(status: int, vendor: str, *, code: str | None = None, says: str | None = None, known: str = "V") -> Row:
    """The row of a key that is refused for itself."""
    told = f" {code}" if code else ""
    return Row(status, f"{vendor} does not accept the key ({status}{told})", code, says, dead=True, known=known)
