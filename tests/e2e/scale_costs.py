"""What a story has cost: processor seconds of each part, rows of Prefect's database, Redis' memory."""

from __future__ import annotations

import os
from pathlib import Path

from tests.e2e.machine import family
from tests.e2e.scale_story import Story

_PARTS = {
    "API servers": ("prefect-1", "prefect-2"),
    "background services": ("services",),
    "PostgreSQL": ("replicas-postgres",),
    "Redis": ("redis",),
    "front": ("front",),
    "workers and their runs": ("machine-1", "machine-2", "machine-3"),
    "store": ("scaled-store",),
    "doubles of provider and proxies": ("scaled-provider", "scaled-members"),
}
_TABLES = ("flow_run", "flow_run_state", "task_run", "task_run_state", "log", "events", "event_resources", "artifact")


def told(story: Story) -> str:
    """A line for each. What was killed is not counted: it took what it knew with it."""
    running, many = story.replicas.processes.running, len(story.scaled.names)
    lines = []
    for part, names in _PARTS.items():
        used = [_used(each) for name in names if name in running for each in family(running[name].pid)]
        seconds = sum(cpu for cpu, _ in used)
        lines.append(f"{part}: {seconds:.1f} CPU-s, {seconds / many:.2f} a credential, {sum(mb for _, mb in used):.0f} MB")
    for table in _TABLES:
        ((count, size),) = story.rows(f"SELECT count(*), pg_total_relation_size('{table}') FROM {table}")
        lines.append(f"{table}: {count} rows, {count / many:.1f} a credential, {size / 2**20:.1f} MB")
    runs = story.rows("""
        SELECT f.name, r.parent_task_run_id IS NULL, r.state_type, count(*) FROM flow_run r JOIN flow f ON f.id = r.flow_id
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """)
    lines += [f"{count} {name} {'of a worker' if top else 'inside a sweep'}: {state}" for name, top, state, count in runs]
    return "\n".join(lines)


def _used(process: int) -> tuple[float, float]:
    """Processor seconds, with those of children that have ended, and resident MB. The kernel's own count."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    return sum(map(int, fields[11:15])) / ticks, int(fields[21]) * page / 2**20
