"""What is in the tasks of the ECS double, in memory: each has loaded what its secret held when it was started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from keyturn.testing.ecs_state import Task


@dataclass
class MemoryLives:
    """`read`: the value of the secret now. `loaded`: by task. `never_ready`, `ends`: values with which a program does not
    become ready, or ends at once. `holds`: tasks whose last request does not end by itself."""

    read: Callable[[], str]
    loaded: dict[str, str] = field(default_factory=dict)
    never_ready: set[str] = field(default_factory=set)
    ends: set[str] = field(default_factory=set)
    holds: bool = False
    ended: set[str] = field(default_factory=set)
    killed: list[str] = field(default_factory=list)

    def begin(self, task: Task) -> None:
        self.loaded[task.name] = self.read()

    def is_ready(self, task: Task) -> bool:
        return self.loaded[task.name] not in self.never_ready

    def has_ended(self, task: Task) -> bool:
        return task.name in self.ended or self.loaded.get(task.name) in self.ends

    def end(self, task: Task, *, at_once: bool) -> None:
        if at_once:
            self.killed.append(task.name)
        if at_once or not self.holds:
            self.ended.add(task.name)
