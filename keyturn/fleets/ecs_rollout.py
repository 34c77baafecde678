"""Where the roll of a service stands: told by its tags, its deployments and its tasks alone. No call is made here.

A forced deployment takes no name, so the service bears it: a tag that is written before the deployment is asked for, with
what was PRIMARY then, and from when on, by AWS's clock, a task has read its key since the promote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from keyturn.fleets.ecs_answers import Deployment, Service, Task

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_STOPPED_BECAUSE = {  # TaskStopCode of botocore 1.44.5
    "TaskFailedToStart": "it could not be started (its image, its secrets, its network, or no room)",
    "EssentialContainerExited": "its program ended",
    "ServiceSchedulerInitiated": "ECS stopped it, as it does with one that fails its health checks",
    "SpotInterruption": "its capacity was taken away",
    "TerminationNotice": "its capacity was taken away",
    "UserInitiated": "somebody stopped it",
}


@dataclass(frozen=True, slots=True)
class Begun:
    """What the tag says. A task created at `since` or later has loaded what was promoted for this rollout."""

    rollout: str
    replaced: str
    since: datetime

    @classmethod
    def parse(cls, value: str) -> Begun | None:
        try:
            rollout, replaced, since = value.split(" ")
            return cls(rollout, replaced, datetime.strptime(since, _TIME).replace(tzinfo=UTC))
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.rollout} {self.replaced} {self.since.astimezone(UTC).strftime(_TIME)}"

    def is_of(self, task: Task) -> bool:
        return task.created is not None and task.created >= self.since

    def began(self, deployment: Deployment) -> bool:
        """Also somebody else's: ECS begins one itself to go back, whose tasks may be older than it is."""
        return deployment.id != self.replaced and deployment.created >= self.since


def tag_key(credential: str) -> str:
    return f"keyturn:{credential}"


def named_by(service: Service, credential: str) -> Begun | None:
    """What the service's tag names, whether it was begun or not."""
    return Begun.parse(service.tags.get(tag_key(credential), ""))


def begun(service: Service, credential: str) -> Begun | None:
    """The rollout that whatever the service starts is of; None where none is known to have been begun."""
    note, primary = named_by(service, credential), service.primary
    return note if note is not None and primary is not None and note.began(primary) else None


def keeps_old_tasks(service: Service, tasks: Sequence[Task], note: Begun) -> bool:
    """ECS says that it is done, and counts on tasks from before: so it looks after ECS has gone back by itself."""
    primary, staying = service.primary, [each for each in tasks if each.stays and not each.is_gone]
    is_old = any(not note.is_of(each) for each in staying)
    return primary is not None and primary.state == "COMPLETED" and is_old and len(staying) <= service.desired


def is_done(service: Service, tasks: Sequence[Task], note: Begun) -> bool:
    """Every task is of this rollout, as many as there are to be, and nothing is being started or stopped."""
    primary = service.primary
    return (
        primary is not None
        and note.began(primary)
        and primary.state in ("", "COMPLETED")
        and (primary.running, primary.pending) == (service.desired, 0)
        and not any(each.running or each.pending for each in service.deployments if each is not primary)
        and all(note.is_of(each) for each in tasks if not each.is_gone)
        and sum(each.status == "RUNNING" and each.stays for each in tasks) >= service.desired
    )


@dataclass
class Roll:
    """One wait for a roll, look after look. `proved`: the tasks whose new key was seen to be accepted."""

    note: Begun
    most_failed: int
    proved: set[str] = field(default_factory=set)
    _was_begun: bool = False
    _kept: int = 0  # looks in a row

    def unproved(self, tasks: Sequence[Task]) -> Sequence[Task]:
        return [task for task in tasks if self.note.is_of(task) and task.stays and task.arn not in self.proved]

    def trouble(self, service: Service, tasks: Sequence[Task]) -> str:
        """Why ECS will not get there, in our words; "" while it may."""
        if service.status != "ACTIVE":
            return "the service is no longer active"
        primary = service.primary
        is_begun = primary is not None and self.note.began(primary)
        was_begun, self._was_begun = self._was_begun, self._was_begun or is_begun
        self._kept = self._kept + 1 if self._was_begun and keeps_old_tasks(service, tasks, self.note) else 0
        ours = [each for each in service.deployments if self.note.began(each)]
        failed = max((each.failed for each in ours if each.is_primary), default=0)
        if self._kept > 1 or (was_begun and not is_begun):
            why = "ECS has gone back to tasks from before"
        elif any(each.state == "FAILED" for each in ours):
            why = "ECS has given its deployment up"
        elif failed >= self.most_failed:
            why = f"{failed} tasks in a row have failed"
        else:
            return ""
        codes = [each.stop_code for each in tasks if not each.stays and self.note.is_of(each)]
        found = [words for code, words in _STOPPED_BECAUSE.items() if code in codes]
        return f"{why}; of a task that was stopped it says: {'; '.join(found)}" if found else why
