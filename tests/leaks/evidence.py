"""What is known after the runs, as files: Prefect's own answers, its metrics, every cell of its database, and what the
other parts tell of keys without their text: the notes beside the secrets, the provider's list, the members' status."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from keyturn.testing.cells import Cell, by_column, sqlite_cells
from tests.leaks.loud import Loud

LISTS = (
    "artifacts",
    "artifacts/latest",
    "automations",
    "block_documents",
    "block_schemas",
    "block_types",
    "concurrency_limits",
    "deployments",
    "flow_runs",
    "flows",
    "logs",
    "saved_searches",
    "task_runs",
    "task_workers",
    "v2/concurrency_limits",
    "variables",
    "work_pools",
    "work_queues",
)
PAGE = 200
SETTLED_SECONDS = 120


def cells(loud: Loud) -> Iterator[Cell]:
    """Of Prefect's database, whichever it is."""
    if loud.postgres is not None:
        return loud.postgres.cells()
    return sqlite_cells(loud.folder / "prefect" / "prefect.db")


def settle(loud: Loud) -> None:
    """Wait until Prefect's server has written down what its clients told it: events in batches, in the order they came."""
    last = str(uuid.uuid4())
    event = {"id": last, "occurred": datetime.now(UTC).isoformat(), "event": "settle"}
    loud.prefect("POST", "/events", [{**event, "resource": {"prefect.resource.id": last}}])
    deadline, before = time.monotonic() + SETTLED_SECONDS, -1
    while time.monotonic() < deadline:
        found = {place: data for place, data in by_column(cells(loud)).items() if _is_about_runs(place)}
        now = sum(len(data) for data in found.values())
        if now == before and any(
            last.encode() in data for place, data in found.items() if place.endswith("events.resource_id")
        ):
            return
        before = now
        time.sleep(1)
    raise RuntimeError(f"Prefect's database has not come to rest within {SETTLED_SECONDS} s")


def _is_about_runs(place: str) -> bool:
    return place.rpartition(".")[0].rpartition(".")[2] in ("artifact", "events", "flow_run_state", "log", "task_run_state")


def collect(loud: Loud, name: str) -> Path:
    """Into a folder of this name inside the installation's; it is returned."""
    folder = loud.folder / "evidence" / name
    for kind in ("api", "cells", "parts"):
        (folder / kind).mkdir(parents=True)
    with httpx.Client(base_url=f"{loud.prefect_url}/api", timeout=60, trust_env=False) as client:
        for each in LISTS:
            _write(folder / "api" / f"{each.replace('/', '-')}.json", list(_all(client, each)))
        _write(folder / "api" / "events.json", list(_events(client)))
        for run in ("flow_run", "task_run"):
            _write(folder / "api" / f"{run}_states.json", list(_states(client, run)))
        for path in ("admin/settings", "metrics"):
            (folder / "api" / path.replace("/", "-")).write_text(_text(client.get(f"/{path}")))
    for place, data in by_column(cells(loud)).items():
        if not place.startswith(("pg_catalog.", "information_schema.")) or loud.literal.encode() in data:
            (folder / "cells" / f"{place}.txt").write_bytes(data)
    for part, facts in _parts(loud).items():
        _write(folder / "parts" / f"{part}.json", facts)
    return folder


def _parts(loud: Loud) -> dict[str, list[Any]]:
    aws = loud.aws_client()
    described = aws.list_secrets()["SecretList"]
    labels = [aws.list_secret_version_ids(SecretId=each["Name"], IncludeDeprecated=True) for each in described]
    return {
        "vault": list(_vault_notes(loud, "")),
        "aws": [*described, *labels],
        "provider": loud.provider_keys(),
        "members": [loud.member_status(n) for n in range(loud.members)],
    }


def _vault_notes(loud: Loud, folder: str) -> Iterator[Any]:
    kv: Any = loud.bao.root.secrets.kv.v2
    for name in kv.list_secrets(folder, mount_point="secret")["data"]["keys"]:
        path = f"{folder}{name}"
        if name.endswith("/"):
            yield from _vault_notes(loud, path)
        else:
            yield {path: kv.read_secret_metadata(path, mount_point="secret")["data"]}


def _all(client: httpx.Client, what: str) -> Iterator[Any]:
    offset = 0
    while True:
        page = json.loads(_text(client.post(f"/{what}/filter", json={"limit": PAGE, "offset": offset})))
        yield from page
        offset += len(page)
        if len(page) < PAGE:
            return


def _events(client: httpx.Client) -> Iterator[Any]:
    now = datetime.now(UTC)
    within = {"since": (now - timedelta(hours=3)).isoformat(), "until": (now + timedelta(minutes=1)).isoformat()}
    page = json.loads(_text(client.post("/events/filter", json={"filter": {"occurred": within}, "limit": 50})))
    yield from page["events"]
    while page["next_page"]:
        page = json.loads(_text(client.get("/events/filter/next", params=httpx.URL(page["next_page"]).params)))
        yield from page["events"]


def _states(client: httpx.Client, run: str) -> Iterator[Any]:
    for each in _all(client, f"{run}s"):
        yield from json.loads(_text(client.get(f"/{run}_states/", params={f"{run}_id": each["id"]})))


def _text(answer: httpx.Response) -> str:
    assert answer.is_success, f"{answer.url.path}: {answer.status_code} {answer.text[:300]}"
    return answer.text


def _write(path: Path, found: Any) -> None:
    # A line for each entry: a scanner tells a line, and takes no file for too long a line. An empty one after each: scanners
    # read a file in pieces that end at empty lines, or anywhere, and what is cut by such an end neither of them finds.
    path.write_text("".join(json.dumps(each, default=str) + "\n\n" for each in found))
