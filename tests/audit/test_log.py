"""The audit log as a file: what is written stays, what was changed is seen, and a death half-way through a line is told."""

from __future__ import annotations

import errno
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.audit.files import files_of
from keyturn.audit.log import LARGEST, AuditLog
from keyturn.audit.record import Act, Entry
from keyturn.audit.seal import Seal
from keyturn.audit.verify import Verified, verify
from keyturn.errors import MisconfiguredError, PermanentError, UnavailableError
from keyturn.evidence import Evidence, MemberEvidence, Rule
from keyturn.material import KeyMaterial
from tests.hostile import PLANTED, fuzz, planted

AT = datetime(2026, 1, 1, tzinfo=UTC)
SEALS = {"plain": Seal(), "keyed": Seal(KeyMaterial(secrets.token_hex(32)))}


def entry(number: int = 0, **facts: str) -> Entry:
    return Entry(AT + timedelta(hours=number), Act.ASKED, "openai-prod", {"who": "terminal"}, {"flow": "rotate", **facts})


def written(path: Path, count: int, seal: Seal | None = None, largest: int = LARGEST) -> AuditLog:
    log = AuditLog(path, seal or Seal(), largest)
    for number in range(count):
        log.append(entry(number, note=str(number)))
    return log


def judged(path: Path, seal: Seal | None = None) -> Verified:
    return verify(files_of(path), seal or Seal())


@pytest.fixture(params=SEALS)
def seal(request: pytest.FixtureRequest) -> Seal:
    return SEALS[request.param]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_what_is_written_is_chained_and_verified(path: Path, seal: Seal) -> None:
    log = AuditLog(path, seal)
    heads = [log.append(entry(number)) for number in range(5)]
    found = judged(path, seal)
    assert found.is_well and found.records == 5 and found.head == heads[-1] and not found.notes
    assert [head.number for head in heads] == [1, 2, 3, 4, 5]
    assert path.stat().st_mode & 0o777 == 0o600
    assert verify([path], seal, heads[2].hash).is_well
    assert not verify([path], seal, "f" * 64).is_well, "a record that was noted has to be there"


TAMPERINGS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int]] = {
    "a word changed": (lambda lines: [*lines[:2], lines[2].replace(b"terminal", b"schedule"), *lines[3:]], 3),
    "a line taken out": (lambda lines: [*lines[:2], *lines[3:]], 3),
    "two lines swapped": (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2),
    "a line put in twice": (lambda lines: [*lines[:3], lines[2], *lines[3:]], 4),
    "a line made into noise": (lambda lines: [*lines[:2], b"noise\n", *lines[3:]], 3),
    "a space put in": (lambda lines: [*lines[:2], lines[2].replace(b'":', b'": ', 1), *lines[3:]], 3),
    "an empty line put in": (lambda lines: [*lines[:2], b"\n", *lines[2:]], 3),
    "noise at the end": (lambda lines: [*lines, b"noise\n"], 6),
}


@pytest.mark.parametrize("how", TAMPERINGS)
def test_the_first_bad_line_is_named(how: str, path: Path, seal: Seal) -> None:
    written(path, 5, seal)
    change, bad = TAMPERINGS[how]
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    found = judged(path, seal)
    assert found.fault is not None
    assert (found.fault[0].line, found.records) == (bad, bad - 1)


def test_a_hash_that_was_made_anew_breaks_the_chain_at_the_line_that_follows(path: Path) -> None:
    written(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    data = json.loads(lines[0])
    del data["hash"], data["number"], data["previous"], data["seal"]
    path.write_bytes(b"".join([Seal().line({**data, "credential": "other"}, 1, "0" * 64), *lines[1:]]))
    found = judged(path)
    assert found.fault is not None and found.fault[0].line == 2


def test_a_number_that_is_left_out_is_seen(path: Path) -> None:
    head = written(path, 2).append(entry())
    with path.open("ab") as file:
        file.write(Seal().line(entry().as_data(), head.number + 2, head.hash))
    found = judged(path)
    assert found.fault is not None and found.fault[0].line == 4


def test_a_whole_file_written_anew_without_the_key_is_seen(path: Path) -> None:
    written(path, 3, SEALS["plain"])
    for other in (SEALS["keyed"], Seal(KeyMaterial(secrets.token_hex(32)))):
        found = judged(path, other)
        assert found.fault is not None and found.fault[0].line == 1 and found.fault[1] == "is sealed with no key"
        with pytest.raises(PermanentError, match="last line"):
            AuditLog(path, other).append(entry())
    path.unlink()
    written(path, 3, SEALS["keyed"])
    assert judged(path, Seal()).fault is not None
    assert judged(path, Seal(KeyMaterial(secrets.token_hex(32)))).fault is not None


@pytest.mark.parametrize("cut", ["all but the end of the line", "half", "one byte"])
def test_a_line_that_was_cut_short_is_told_and_the_log_goes_on(cut: str, path: Path, seal: Seal) -> None:
    log = written(path, 3, seal)
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    kept = {"all but the end of the line": len(last) - 1, "half": len(last) // 2, "one byte": 1}[cut]
    path.write_bytes(whole[: len(whole) - len(last) + kept])
    before = judged(path, seal)
    assert before.is_well
    log.append(entry(9))
    after = judged(path, seal)
    assert after.is_well
    if kept == len(last) - 1:
        assert (after.records, after.notes) == (4, ()), "the record was all there"
    else:
        assert before.records == 2 and "cut short" in before.notes[0]
        assert after.records == 4 and "record 3 says so" in after.notes[0]
        told = json.loads(path.read_bytes().splitlines()[3])
        assert (told["act"], told["facts"]["bytes"]) == ("torn", str(kept))


def test_noise_is_only_taken_for_a_cut_line_where_the_next_record_answers_for_it(path: Path, seal: Seal) -> None:
    log = written(path, 3, seal)
    path.write_bytes(path.read_bytes()[:-30])
    log.append(entry(9))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2][1:], *lines[3:]]))
    found = judged(path, seal)
    assert found.fault is not None and found.fault[0].line == 3


def test_a_line_that_was_changed_is_not_taken_for_one_that_was_cut_short(path: Path) -> None:
    log = written(path, 3)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"2"', b'"7"'))
    with pytest.raises(PermanentError, match="last line does not have the hash"):
        log.append(entry())
    path.write_bytes(content[:-20] + b"\n")
    with pytest.raises(PermanentError, match="last line is no record"):
        log.append(entry())


def test_files_are_put_aside_by_size_and_the_chain_goes_over_them(path: Path, seal: Seal) -> None:
    written(path, 40, seal, largest=2000)
    files = files_of(path)
    assert len(files) > 3 and files[-1] == path
    found = verify(files, seal)
    assert found.is_well and found.records == 40 and not found.notes
    assert all(verify([each], seal).is_well for each in files), "each alone, too"
    assert "what was before is in another file" in verify([files[1]], seal).notes[0]
    broken = verify([files[0], *files[2:]], seal)
    assert broken.fault is not None and broken.fault[0].file == files[2] and broken.fault[0].line == 1


def test_files_are_put_aside_by_age(path: Path) -> None:
    now = AT
    log = AuditLog(path, Seal(), oldest=timedelta(days=1), now=lambda: now)
    log.append(entry(0))
    log.append(entry(1))
    now = AT + timedelta(days=2)
    log.append(entry(48))
    assert [len(each.read_bytes().splitlines()) for each in files_of(path)] == [2, 1]
    assert judged(path).records == 3


def test_after_a_death_between_putting_aside_and_beginning_the_chain_goes_on(path: Path) -> None:
    log = written(path, 3)
    path.rename(path.with_name(path.name + ".000000000003"))
    assert log.append(entry()).number == 4
    (path.with_name(path.name + ".000000000004")).write_bytes(b"")
    assert judged(path).records == 4


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from keyturn.audit.log import AuditLog
from keyturn.audit.record import Act, Entry
from keyturn.audit.seal import Seal
log = AuditLog(Path(sys.argv[1]), Seal(), 4000)
print("ready", flush=True)
sys.stdin.read()
for number in range(15):
    log.append(Entry(datetime.now(UTC), Act.ASKED, "openai-prod", {}, {"number": str(number)}))
"""


def test_several_processes_write_one_chain(path: Path) -> None:
    command, pipe = [sys.executable, "-c", WRITER, str(path)], subprocess.PIPE
    workers = [subprocess.Popen(command, stdin=pipe, stdout=pipe) for _ in range(3)]
    for each in workers:
        assert each.stdout is not None and each.stdout.readline() == b"ready\n"
    for each in workers:
        assert each.stdin is not None
        each.stdin.close()
    assert [each.wait(timeout=120) for each in workers] == [0] * 3
    found = judged(path)
    assert found.is_well and found.records == 45 and not found.notes
    assert len(files_of(path)) > 2


def test_a_write_that_fails_is_taken_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = written(path, 2)
    before, real = path.read_bytes(), os.write

    def fails_half_way(file: int, data: bytes) -> int:
        monkeypatch.setattr("keyturn.audit.log.os.write", full_disk)
        return real(file, data[:10])

    def full_disk(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("keyturn.audit.log.os.write", fails_half_way)
    with pytest.raises(UnavailableError, match="cannot be written"):
        log.append(entry())
    assert path.read_bytes() == before
    monkeypatch.setattr("keyturn.audit.log.os.write", real)
    assert log.append(entry()).number == 3


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="FileNotFoundError"):
        AuditLog(tmp_path / "no" / "audit.jsonl", Seal()).append(entry())


def test_a_short_key_is_refused() -> None:
    with pytest.raises(MisconfiguredError, match="fewer than 32"):
        Seal(KeyMaterial("short"))


words = st.text(max_size=40)
around = st.sampled_from(["", " ", ": ", "/", '"', "\n", "{", "\\"])


@fuzz(200)
@given(key=planted, before=words, front=around, end=around, place=st.sampled_from(("who", "facts", "key", "evidence")))
def test_no_key_is_ever_in_a_line(key: str, before: str, front: str, end: str, place: str) -> None:
    text = f"{before} {front}{key}{end}" if place != "key" else key
    member = MemberEvidence("local", text, Rule.ANSWERED, text, AT)
    evidence = Evidence((member,), text, AT, None, None, (text,), (text,)) if place == "evidence" else Evidence()
    facts = {"facts": {"sentence": text}, "key": {"key": text}}.get(place, {})
    line = Seal().line(
        Entry(AT, Act.FAILED, "openai-prod", {"name": text} if place == "who" else {}, facts, (evidence,)).as_data(), 1, "0"
    )
    assert key.encode() not in line
    assert key.encode() not in json.dumps(json.loads(line), ensure_ascii=False).encode(errors="replace")


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_key_material_does_not_become_text_there(name: str) -> None:
    material = KeyMaterial(PLANTED[name])
    facts = {"key": material, "note": material}
    line = Seal().line(Entry(AT, Act.FAILED, "a", facts=facts).as_data(), 1, "0")  # type: ignore[arg-type]
    assert PLANTED[name].encode() not in line
