"""Real processes at one file: each that dies leaves it whole, and two that write at once lose nothing of each other's."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

from keyturn.model import SecretRef, Stage
from keyturn.testing.store_scene import new_key
from tests.stores.dotenv_deaths import VERBS
from tests.stores.test_dotenv_file import make_store
from tests.test_house import ROOT

FIELDS = [f"KEY_{n}" for n in range(10)]
ROTATIONS = 8  # of each field, of four writes each

_WRITER = """
import asyncio, sys
from pathlib import Path
from keyturn.errors import UnavailableError
from tests.stores.test_dotenv_file import Place, SecretRef, make_store, rotated
async def turn(field):
    place = Place(make_store(Path(sys.argv[1])), SecretRef('dotenv', 'keys.env', field), None)
    done, last, late = 0, '', 0
    while done < int(sys.argv[2]):
        try:
            last = await rotated(place)
            done += 1
        except UnavailableError:  # too many at once: the same call may succeed later
            late += 1
            if late > 50: raise
    return field, last
async def main():
    for field, last in await asyncio.gather(*map(turn, sys.argv[3:])): print(field, last)
asyncio.run(main())
"""


def test_a_process_that_is_killed_before_any_change_of_the_disk_leaves_a_store_that_is_whole(tmp_path: Path) -> None:
    """See dotenv_deaths for what is looked at after each."""
    command = [sys.executable, "-m", "tests.stores.dotenv_deaths", str(tmp_path)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr[-2000:]
    died = json.loads(told.stdout)
    assert set(died) == set(VERBS)
    assert all(count >= 5 for count in died.values()), died  # write, fill, dress, rename, sync
    assert died["promote"] == 15, "three files, and five changes for each"


async def test_two_processes_that_hammer_one_file_lose_no_field_and_tear_no_read(tmp_path: Path) -> None:
    path, store = tmp_path / "keys.env", make_store(tmp_path)
    path.write_text(
        "# mine\nFIRST=1\n" + "".join(f"{name}={new_key().reveal()}\n# {name}\n" for name in FIELDS) + "LAST='1'"
    )
    whole = re.compile(
        "# mine\nFIRST=1\n" + "".join(f"{name}=sk-[0-9a-f]{{48}}\n# {name}\n" for name in FIELDS) + "LAST='1'"
    )
    writers = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _WRITER, str(tmp_path), str(ROTATIONS), *fields), cwd=ROOT, stdout=subprocess.PIPE
        )
        for fields in (FIELDS[::2], FIELDS[1::2])
    ]
    ended = asyncio.gather(*(writer.communicate() for writer in writers))
    seen = set()
    while not ended.done():
        text = path.read_text()
        assert whole.fullmatch(text), "a read was torn, or a line was lost"
        seen.add(text)
        await asyncio.sleep(0.001)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(seen) > len(FIELDS) * 2  # it looked while they wrote
    last = dict(line.split() for out, _ in await ended for line in out.decode().splitlines())
    assert set(last) == set(FIELDS)
    for name in FIELDS:
        secret = SecretRef("dotenv", "keys.env", name)
        assert (await store.current(secret)).material.reveal() == last[name]
        assert set(await store.stages(secret)) == {Stage.CURRENT, Stage.PREVIOUS}
    assert not (tmp_path / ".keys.env.keyturn" / "scratch").exists()
