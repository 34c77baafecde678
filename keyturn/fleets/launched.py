"""What `keyturn exec --state FILE` wrote before it became the program: which keys a running program was started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyturn.json_object import UnreadableError, inside, json_object, mapping, plain_id, text
from keyturn.model import VersionRef

_LARGEST = 65536  # bytes
_START_TIME = 22 - 3  # of the fields of /proc/PID/stat, counted from the one after the program's name (proc(5))


@dataclass(frozen=True, slots=True)
class Launched:
    """`started`: when, in the kernel's own ticks since boot. With the pid it names one process, and never a later one."""

    pid: int
    started: int
    versions: Mapping[str, VersionRef]

    @property
    def runs(self) -> bool:
        """Whether that very process runs still."""
        return start_time(self.pid) == self.started


def read_launched(path: Path) -> Launched | None:
    """None where there is no such file, or none that the launcher wrote."""
    try:
        with path.open("rb") as file:
            document = json_object(file.read(_LARGEST))
        return Launched(_number(document.get("pid")), _number(document.get("started")), _versions(document))
    except (OSError, UnreadableError):
        return None


def versions_of(content: bytes) -> Mapping[str, VersionRef]:
    """The versions alone, of a program whose process is another machine's, or a container's. UnreadableError."""
    return _versions(json_object(content[:_LARGEST]))


def start_time(pid: int) -> int | None:
    """The start time of a running process, in ticks; None where there is none of that number, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[:1] in ([b"Z"], [b"X"]) else int(fields[_START_TIME])


def _versions(document: Mapping[str, object]) -> dict[str, VersionRef]:
    versions = mapping(document.get("credentials"))
    return {
        name: VersionRef(plain_id(inside(each, "id")), text(inside(each, "fingerprint"))) for name, each in versions.items()
    }


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise UnreadableError
    return value
