"""Where the lines of a file of variables begin, to all who read it: in front of a line of ours, nothing may be open.

A quote, a bracket or a backslash that is left open at the end of a line takes the next ones in, to one reader and not to
another: to a shell `GREETING=it's` does, to systemd a backslash at the end of a comment, to python-dotenv neither. So what
stands in front of ours is blank, a comment, a name, or `NAME=VALUE` with a value that ends at the same place to all of
them, over several lines if it is quoted. What its value is, is not asked: others' variables may differ as they like.
"""

from __future__ import annotations

import re


class AmbiguousError(ValueError):
    """What stands there, or should, is not read alike by those who read such files. Nothing of it is quoted."""

    def __init__(self, fault: str, remedy: str = "") -> None:
        super().__init__(fault)
        self.remedy = remedy


_HEAD = r"[ \t]*(?:export[ \t]+)?[^\s=#'\"$`\\;&|<>(){}]+"
_END = r"[ \t]*(?:[ \t]#[^\n]*)?\r?(?:\n|\Z)"
# A backslash in front of the closing quote is where they differ: none in single quotes, and not two in double ones.
_SINGLE = r"'(?:[^'\\]|\\(?!'))*+'"
# What a shell replaces, it reads to the end first, quotes and all: so far as it is plain, there is no doubt about that.
_REPLACED = r"\$\{[^{}()'\"`\\\n]*\}|\$\([^(){}'\"`\\\n]*\)"
_DOUBLE = rf'"(?:[^"\\`$]|\\\\(?!["\\])|\\[^\\]|{_REPLACED}|\$(?![{{(]))*+"'
_QUOTED = re.compile(rf"{_HEAD}[ \t]*=[ \t]*(?:{_SINGLE}|{_DOUBLE}){_END}")
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)")
_NAME_ALONE = re.compile(rf"{_HEAD}[ \t]*\r?(?:\n|\Z)")
_BARE = re.compile(rf"{_HEAD}[ \t]*=[ \t]*(?!['\"])([^\n]*)(?:\n|\Z)")
_CLOSED = re.compile(
    rf"(?:[^'\"`\\<($]|\\.|'[^']*'|\"[^\"\\`$]*\"|`[^`'\"\\]*`|\([^()'\"`\\]*\)|<(?!<)|{_REPLACED}|\$(?!\{{))*+"
)
_COMMENT = re.compile(r"(?:\A|(?<=[ \t]))#.*\Z", re.DOTALL)
_BACKSLASH = re.compile(r"\\\r?\n?\Z")
_LONE_RETURN = re.compile(r"\r(?!\n)")


def demand_plain_text(text: str) -> None:
    """AmbiguousError for signs that readers take differently wherever they stand."""
    if text.startswith("\ufeff"):
        raise AmbiguousError("the file begins with a byte order mark", "save it as UTF-8 without one")
    if "\0" in text:
        raise AmbiguousError("the file has a NUL byte in it", "write it anew as text")
    if found := _LONE_RETURN.search(text.removesuffix("\r")):
        raise AmbiguousError(f"line {_number(text, found.start())} has a carriage return in it", "end lines by a newline")


def past_statement(text: str, at: int) -> int:
    """Where the next line begins that is one to all. AmbiguousError, by its number, for one that leaves something open."""
    found = _BLANK.match(text, at) or _NAME_ALONE.match(text, at) or _QUOTED.match(text, at)
    if found is None:
        found = _BARE.match(text, at)
        if found is None or not _CLOSED.fullmatch(_COMMENT.sub("", found[1])):
            raise AmbiguousError(
                f"line {_number(text, at)} is no comment and no variable with a value that ends there",
                "quote that value as a whole, or move the line for this key above it",
            )
    if _BACKSLASH.search(text, found.start(), found.end()):
        raise AmbiguousError(f"line {_number(text, at)} ends in a backslash", "take that away")
    return found.end()


def _number(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
