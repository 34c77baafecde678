"""Process 1 of a container, played by a process that is given the orphans below it (Linux: a child subreaper)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.delivery.waiting import until_true

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="skipped: orphans are taken in by Linux's ways")

BECOME = "import ctypes; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER"


@contextmanager
def init(code: str) -> Iterator[subprocess.Popen[str]]:
    """A program that stands aside, and then runs this code in the child."""
    program = f"{BECOME}\nimport os, signal, sys, time\nfrom keyturn.delivery.init import stand_aside\nstand_aside()\n{code}"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # with the child, which an init that is killed leaves behind
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# Not signal.pause(): a signal between the word before and the pause would be noted by Python, and wake nobody.
FOR_EVER = "while True: time.sleep(0.05)"


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize(("code", "wanted"), [("sys.exit(7)", 7), ("pass", 0), ("os.kill(os.getpid(), 9)", 137)])
def test_it_ends_as_the_child_does(code: str, wanted: int) -> None:
    with init(code) as process:
        assert process.wait(30) == wanted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_is_the_childs(number: signal.Signals) -> None:
    told = f"signal.signal({int(number)}, lambda n, f: sys.exit(n + 40)); print('ready', flush=True)\n{FOR_EVER}"
    with init(told) as process:
        assert line(process) == "ready"
        process.send_signal(number)
        assert process.wait(30) == number + 40


def test_a_child_that_takes_no_care_dies_of_the_signal_as_ever() -> None:
    with init("print('ready', flush=True); signal.pause()") as process:
        assert line(process) == "ready"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM


ORPHAN = """
middle = os.fork()
if middle == 0:
    orphan = os.fork()
    if orphan == 0:
        time.sleep(0.2)
        os._exit(0)
    print(orphan, flush=True)
    os._exit(0)
os.waitpid(middle, 0)
signal.pause()
"""


def test_orphans_are_taken_in_and_leave_no_zombie() -> None:
    with init(ORPHAN) as process:
        orphan = Path(f"/proc/{line(process)}")
        until_true(lambda: not orphan.exists())
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM


def test_without_it_an_orphan_stays_a_zombie() -> None:
    """Else the test above shows nothing."""
    program = f"{BECOME}\nimport os, signal, sys, time\n{ORPHAN}"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        stat = Path(f"/proc/{line(process)}/stat")
        until_true(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z")
    finally:
        process.kill()
        process.wait()


def test_as_process_1_keyturn_exec_stands_aside() -> None:
    """In a process namespace of its own, where the system lets us make one."""
    unshare = shutil.which("unshare")
    command = [str(unshare), "--pid", "--fork", "--mount-proc", "--kill-child"]
    if unshare is None or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("skipped: no process namespace can be made here")
    code = (
        "import os, sys, keyturn.cli, keyturn.entry\n"
        "keyturn.cli.main = lambda: sys.exit(0 if os.getpid() != 1 and os.getppid() == 1 else 9)\n"
        "sys.argv = ['keyturn', 'exec', '--proxy', 'a', '--control=unix:/x', '--', 'true']\n"
        "keyturn.entry.main()"
    )
    done = subprocess.run([*command, sys.executable, "-c", code], env=dict(os.environ), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
