"""How LiteLLM is started: images and their releases, commands and their options. The same in a compose file and a pod."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from keyturn import durations
from keyturn.lint.catalogue import (
    FLOATING_IMAGE,
    LOGS_BODIES,
    MALICIOUS_RELEASE,
    NO_SUCH_COMMAND,
    OLD_RELEASE,
    SEVERAL_WORKERS,
)
from keyturn.lint.finding import Hit, Severity, Spot, hit
from keyturn.lint.tree import Items, Node, Scalar, text_of

_IMAGE = re.compile(r"(?P<name>[^@\s]*?)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]*))?(?P<digest>@sha256:[0-9a-f]+)?")
_PUBLISHED = re.compile(r"(?:.*/)?litellm(?:-(?:database|non_root|ee|proxy))?", re.IGNORECASE)
_FLOATING = re.compile(r"(?:.*-)?(?:latest|stable|nightly|dev|main)", re.IGNORECASE)
_RELEASE = re.compile(r"(?<![0-9.])v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?![0-9])")
_PINNED = re.compile(r"\blitellm(?:\[[A-Za-z0-9_, -]{0,60}\])?\s{0,3}==\s{0,3}(\d{1,4}\.\d{1,4}\.\d{1,4})(?![0-9])")
_PROXY_WORD = re.compile(r"(?:^|[\s;&|/\"'(])litellm\s{1,10}(?:proxy|litellm)(?=\s|$|[;&|\"')])")
_MALICIOUS = ((1, 82, 7), (1, 82, 8))
_REPORTED = (1, 107)
_FIRST_SAFE = (1, 103, 0)
_STARTERS = {"sh", "bash", "/bin/sh", "/bin/bash", "-c", "-ec", "-lc", "exec", "tini", "dumb-init", "--"}


@dataclass(frozen=True, slots=True)
class Program:
    """`image` as written. `entry`: what replaces the image's own program; `rest`: what follows it."""

    spot: Spot
    image: str
    image_spot: Spot
    entry: Sequence[str]
    rest: Sequence[str]
    command_spot: Spot

    @property
    def words(self) -> list[str]:
        return [*self.entry, *self.rest]

    @property
    def is_litellm(self) -> bool:
        named = "litellm" in self.image.lower().rpartition("/")[2] or "berriai/" in self.image.lower()
        return named or any(each.rpartition("/")[2] == "litellm" for each in self.words) or _starts_litellm(self.words)

    @property
    def supervised(self) -> Sequence[str] | None:
        """The options of `keyturn exec`, where it runs under it; else None."""
        words = self.words
        for index, word in enumerate(words[:-1]):
            if word.rpartition("/")[2] == "keyturn" and words[index + 1] == "exec":
                end = words.index("--", index) if "--" in words[index:] else len(words)
                return words[index + 2 : end]
        return None


def _starts_litellm(words: Sequence[str]) -> bool:
    return any(" " in each and re.search(r"(?:^|[\s;&|/])litellm\s", each) for each in words)


def words_of(node: Node | None) -> list[str]:
    """The words of a command; a command that is one text is split at white space."""
    if isinstance(node, Items):
        return [text_of(each) for each in node.items]
    return text_of(node).split() if isinstance(node, Scalar) else []


def program_hits(program: Program) -> Iterator[Hit]:
    if not program.is_litellm:
        return
    yield from image_hits(program.image, program.image_spot)
    yield from _command_hits(program)


def image_hits(image: str, spot: Spot) -> Iterator[Hit]:
    """Of an image that LiteLLM publishes, under whichever registry."""
    found = _IMAGE.fullmatch(image) if len(image) <= 500 else None
    if found is None or "$" in image or "{" in image or not _PUBLISHED.fullmatch(found["name"]):
        return
    tag = found["tag"] or ""
    release = _RELEASE.search(tag)
    if release is not None:
        yield from _release_hits((int(release[1]), int(release[2]), int(release[3])), spot)
    elif not found["digest"] and (not tag or _FLOATING.fullmatch(tag)):
        yield hit(FLOATING_IMAGE, spot, "the tag of this image moves" if tag else "this image has no tag: it is the latest")


def _release_hits(release: tuple[int, int, int], spot: Spot) -> Iterator[Hit]:
    told = ".".join(map(str, release))
    if release in _MALICIOUS:
        yield hit(MALICIOUS_RELEASE, spot, f"LiteLLM {told} was a malicious release")
    elif release[:2] == _REPORTED:
        yield hit(MALICIOUS_RELEASE, spot, f"LiteLLM {told} was reported as malicious", Severity.warning)
    elif release < _FIRST_SAFE:
        yield hit(OLD_RELEASE, spot, f"LiteLLM {told} is older than 1.103")


def _command_hits(program: Program) -> Iterator[Hit]:
    spot, words = program.command_spot, program.words
    if wrong := _starts_nothing(program):
        yield hit(NO_SUCH_COMMAND, spot, wrong)
    for pinned in _PINNED.finditer(" ".join(words)):
        major, minor, patch = map(int, pinned[1].split("."))
        yield from _release_hits((major, minor, patch), spot)
    if "--detailed_debug" in words or any(" --detailed_debug" in each for each in words):
        yield hit(LOGS_BODIES, spot, "--detailed_debug logs request bodies")
    if program.supervised is not None and _workers(words) > 1:
        yield hit(SEVERAL_WORKERS, spot, "a member under keyturn exec has several workers")


def _starts_nothing(program: Program) -> str:
    words = program.words
    if _PROXY_WORD.search(" ".join(words)):
        return "`litellm proxy` is no command of LiteLLM's"
    started = [each for each in words if each not in _STARTERS]
    first = started[0] if started else ""
    if first.partition(" ")[0].rpartition("/")[2] == "litellm-proxy":
        return "`litellm-proxy` is a client, and starts no proxy"
    found = _IMAGE.fullmatch(program.image) if len(program.image) <= 500 else None
    its_own = found is not None and _PUBLISHED.fullmatch(found["name"]) is not None
    if its_own and not program.entry and program.rest and program.rest[0] in ("proxy", "litellm"):
        return f"the image starts `litellm` itself: `{program.rest[0]}` is taken for a command of it"
    return ""


def _workers(words: Sequence[str]) -> int:
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--num_workers":
            value = value if equals else words[index + 1] if index + 1 < len(words) else ""
            return int(value) if re.fullmatch(r"\d{1,4}", value) else 1
    return 1


def seconds(text: str) -> float | None:
    """A duration as Docker writes them (1m30s, 90s, 500ms), in seconds; None for anything else."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "ns": 1e-9}
    if len(text) > 40 or not re.fullmatch(r"(?:\d+(?:\.\d+)?(?:ms|us|ns|h|m|s))+", text):
        return None
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)", text))


def needed_to_stop(options: Sequence[str]) -> float:
    """Seconds that `keyturn exec` with these options may take to end: its drain and its grace."""
    total = timedelta(0)
    for name, default in (("--drain", "3s"), ("--grace", "90s")):
        given = [options[index + 1] for index, word in enumerate(options[:-1]) if word == name]
        given += [word.partition("=")[2] for word in options if word.startswith(f"{name}=")]
        total += _duration(given[-1] if given else default, default)
    return total.total_seconds()


def _duration(text: str, default: str) -> timedelta:
    try:
        return durations.parse(text)
    except ValueError:
        return durations.parse(default)
