"""Many credentials at once, with three workers and two servers of Prefect: and then a server and a worker die.

Everybody goes by counts, nobody by the clock: a server is killed when a fifth of the keys are made, and a worker, with all
that it has started, when two fifths are. Nothing is asked for afterwards: what is left half-way is for the next sweep.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from keyturn.testing.programs import DEPLOY, installed
from tests.e2e.conftest import ROOT
from tests.e2e.machine import Machine
from tests.e2e.replicas import Replicas, changing, client
from tests.e2e.scaled import Scaled

POOL = "keyturn"
PATIENCE = 900  # seconds; all of it takes some four minutes on two quiet cores
HEARTBEAT = 30  # seconds: Prefect's shortest. A run is dead for the sweep after three that did not come


@dataclass
class Story:
    """The parts while it is played; and what is known of the dead."""

    scaled: Scaled
    replicas: Replicas
    machines: list[Machine]
    asked_for: list[str] = field(default_factory=list)
    dead_runs: set[UUID] = field(default_factory=set)
    in_hand: set[str] = field(default_factory=set)  # credentials that the dead machine was at
    died_at: float = 0.0  # by the clock, in seconds

    def play(self, asked_for: int) -> None:
        """From the first request until there is nothing left to do."""
        self.ask(self.scaled.names[:asked_for])
        many = len(self.scaled.names)
        self.until(lambda: self.made() >= many / 5)
        server = self.replicas.processes.running.pop("prefect-1")
        server.kill()
        server.wait()
        self.until(lambda: self.made() >= many * 2 / 5 and self.busiest() is not None)
        self.kill_a_machine()
        self.until(self.is_rotated)
        self.until(lambda: not self.open_among_the_dead() and not self.under_way())

    def ask(self, names: list[str]) -> None:
        """For runs of their own, as by the button. All others are due by their age, and found by the sweep."""
        with client(self.replicas.url, self.replicas) as http:
            headers = changing(http)
            deployment = http.get("/deployments/name/rotate/keyturn").raise_for_status().json()["id"]
            for name in names:
                told = {"parameters": {"credential": name, "reason": "manual"}}
                http.post(f"/deployments/{deployment}/create_flow_run", json=told, headers=headers).raise_for_status()
        self.asked_for = names

    def made(self) -> int:
        return sum(key["name"].startswith("keyturn-") for key in self.scaled.every_key())

    def busiest(self) -> tuple[Machine, int] | None:
        """The machine of the sweep that is at work with most credentials, and how many these are."""
        found = self.rows(f"""
            SELECT parent.infrastructure_pid, count(*) FROM flow_run child
            JOIN task_run link ON link.id = child.parent_task_run_id JOIN flow_run parent ON parent.id = link.flow_run_id
            WHERE child.state_type = 'RUNNING' AND parent.state_type = 'RUNNING'
            GROUP BY 1 HAVING count(*) >= {len(self.scaled.names) // 40} ORDER BY 2 DESC
        """)
        for process, count in found:
            for machine in self.machines:
                if machine.runs(int(process.rpartition(":")[2])):
                    return machine, count
        return None

    def kill_a_machine(self) -> None:
        """The busiest, with its worker and all that this has started."""
        found = self.busiest() or (self.machines[0], 0)
        self.died_at = time.time()
        processes = found[0].die()
        self.machines.remove(found[0])
        roots = self.rows("SELECT id, infrastructure_pid FROM flow_run WHERE state_type IN ('RUNNING', 'PENDING')")
        dead = {run for run, pid in roots if pid and int(pid.rpartition(":")[2]) in processes}
        inside = self.rows("""
            SELECT child.id, link.flow_run_id FROM flow_run child JOIN task_run link ON link.id = child.parent_task_run_id
            WHERE child.state_type IN ('RUNNING', 'PENDING')
        """)
        self.dead_runs = dead | {child for child, parent in inside if parent in dead}
        names = self.rows("SELECT id, parameters->>'credential' FROM flow_run")
        self.in_hand = {name for run, name in names if run in self.dead_runs and name}

    def is_rotated(self) -> bool:
        """By the provider: each has a new key, and an old one that is accepted if, and only if, it has an overlap."""
        new, old = set[str](), set[str]()
        for key in self.scaled.every_key():
            if key["accepted"]:
                (new if key["name"].startswith("keyturn-") else old).add(owner(key))
        return new == set(self.scaled.names) and old == {name for name in new if self.scaled.has_overlap(name)}

    def open_among_the_dead(self) -> set[UUID]:
        """Runs of the dead machine that Prefect takes for living ones."""
        found = self.rows("SELECT id FROM flow_run WHERE state_type IN ('RUNNING', 'PENDING')")
        return self.dead_runs & {run for (run,) in found}

    def under_way(self) -> int:
        """Rotations that have not come to their end: one with an overlap has a new key long before."""
        ((count,),) = self.rows("""
            SELECT count(*) FROM flow_run r JOIN flow f ON f.id = r.flow_id
            WHERE f.name = 'rotate' AND r.state_type = 'RUNNING'
        """)
        return int(count)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.replicas.postgres.rows(query)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"not within {PATIENCE} s: {self.standing()}"
            time.sleep(1)

    def standing(self) -> str:
        """For whoever has to find out what it waits for."""
        states = self.rows("""
            SELECT f.name, r.state_type, count(*) FROM flow_run r JOIN flow f ON f.id = r.flow_id GROUP BY 1, 2 ORDER BY 1, 2
        """)
        new = {owner(key) for key in self.scaled.every_key() if key["accepted"] and key["name"].startswith("keyturn-")}
        waits = [name for name in self.scaled.names if name not in new]
        ended = [name for name, process in self.scaled.processes.running.items() if process.poll() is not None]
        return (
            f"{self.made()} keys made, {len(waits)} credentials without a new one, such as {waits[:5]}; "
            f"{len(self.open_among_the_dead())} open among the dead; runs: {states}; ended programs: {ended}"
        )


def owner(key: dict[str, Any]) -> str:
    """The credential that a key was made for: by keyturn, or by hand before."""
    name: str = key["name"]
    if name.endswith(" by hand"):
        return name.removesuffix(" by hand")
    return "-".join(name.split("-")[1:4])


def begun(scaled: Scaled, replicas: Replicas, folder: Path) -> Story:
    """The deployments, and three workers; what is due by its age the first sweep finds within a minute."""
    environ = {**scaled.environ, **replicas.environ_beside, "KEYTURN_ROOT": str(ROOT)}
    environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(HEARTBEAT)
    own = {"PREFECT_HOME": str(folder / "deploy")}
    deploy = list(map(str, installed((*DEPLOY, POOL))))
    done = subprocess.run(
        deploy, env={**os.environ, **environ, **own}, cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    names = [f"machine-{n}" for n in (1, 2, 3)]
    return Story(scaled, replicas, [Machine(scaled.processes, folder, name, POOL, environ) for name in names])
