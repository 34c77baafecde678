"""How far a workload is onto its newest pod template: from the objects as the API server gives them. Pure.

The counters of a status look finished twice when nothing is: right after the template was changed, before its controller has
seen that, and while pods of the last template are still ending. And a failure stands there longer than it lasts: the next
template has it until its controller has looked. So a status counts only from `observedGeneration` on, and pods are looked at
themselves. Recorded answers of a 1.36.2 server: tests/data/kubernetes-1.36.2.

Pods of the newest template are told by an annotation of it, which their controller copies: see `mark_name`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from keyturn.json_object import inside
from keyturn.kubernetes.pods import is_ending, is_ready, is_there, mark_in

_SHOWN = 3  # names in a sentence
Object = dict[str, Any]


class Kind(StrEnum):
    """What keeps pods, and replaces them when its template changes."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"

    @property
    def plural(self) -> str:
        """As paths and Roles have it. Its group is apps."""
        return f"{self.value.lower()}s"


class State(StrEnum):
    """How far a rollout is, as far as whoever waits for it has to know."""

    ROLLING = "rolling"  # waiting may help
    DONE = "done"  # every pod is of the newest template, ready, and none of another is left, ending ones included
    FAILED = "failed"  # its controller has given up, or says why no pod can be made
    HELD = "held"  # nothing happens until a person changes something


@dataclass(frozen=True, slots=True)
class Rollout:
    """`sentence`: for people, why it is there."""

    state: State
    sentence: str


Check = Callable[["_Seen"], Rollout | None]


def judge(kind: Kind, workload: Object, pods: Sequence[Object], credential: str, mark: str) -> Rollout:
    """`pods`: all that the workload's selector finds, whoever owns them. `mark`: that of this credential in the newest
    template; "": none.

    The first check that speaks decides.
    """
    seen = _Seen(kind, workload, pods, credential, mark)
    return _first(CHAIN, seen) or Rollout(State.DONE, f"{len(seen.new)} pods, all of the newest template and ready")


def why_held(kind: Kind, workload: Object) -> str:
    """Why no change of its template would replace a pod until a person changes something; "": it would."""
    found = _first((paused, deleted_by_hand), _Seen(kind, workload, (), "", ""))
    return found.sentence if found is not None else ""


def mark_of(workload: Object, credential: str) -> str:
    """What the pod template says that it was last rolled for; "": nothing."""
    return mark_in(inside(workload, "spec", "template"), credential)


def wanted_pods(kind: Kind, workload: Object) -> int:
    """How many there are to be."""
    return _Seen(kind, workload, (), "", "").wanted


def _first(chain: Sequence[Check], seen: _Seen) -> Rollout | None:
    return next((found for check in chain if (found := check(seen)) is not None), None)


@dataclass(frozen=True, slots=True)
class _Seen:
    kind: Kind
    workload: Object
    pods: Sequence[Object]
    credential: str
    mark: str

    def spec(self, *names: str) -> Any:
        return inside(self.workload, "spec", *names)

    def counter(self, name: str) -> int:
        """Absent is 0: the API server leaves out what is."""
        found = inside(self.workload, "status", name)
        return found if isinstance(found, int) else 0

    @property
    def wanted(self) -> int:
        if self.kind is Kind.DAEMON_SET:
            return self.counter("desiredNumberScheduled")
        replicas = self.spec("replicas")
        return replicas if isinstance(replicas, int) else 1

    @property
    def there(self) -> Sequence[Object]:
        """Pods that run, may still run, or are ending."""
        return [pod for pod in self.pods if is_there(pod)]

    @property
    def new(self) -> Sequence[Object]:
        return [pod for pod in self.there if mark_in(pod, self.credential) == self.mark and not is_ending(pod)]

    @property
    def old(self) -> Sequence[Object]:
        return [pod for pod in self.there if mark_in(pod, self.credential) != self.mark or is_ending(pod)]

    def conditions(self, type: str, status: str) -> Iterator[Object]:
        for each in inside(self.workload, "status", "conditions") or ():
            if each.get("type") == type and each.get("status") == status:
                yield each


def not_its_template(seen: _Seen) -> Rollout | None:
    """Somebody has changed the template since: what is rolled now is not what was asked for."""
    if mark_of(seen.workload, seen.credential) == seen.mark:
        return None
    return Rollout(State.HELD, "its pod template is not the one that was asked for: somebody has changed it since")


def unseen(seen: _Seen) -> Rollout | None:
    """Until its controller has looked, all that the status says is about the template before."""
    generation = inside(seen.workload, "metadata", "generation") or 0
    if seen.counter("observedGeneration") >= generation:
        return None
    return Rollout(State.ROLLING, "its controller has not seen the new template yet")


def paused(seen: _Seen) -> Rollout | None:
    if seen.kind is Kind.DEPLOYMENT and seen.spec("paused") is True:
        return Rollout(State.HELD, "it is paused: `kubectl rollout resume` lets it go on")
    return None


def deleted_by_hand(seen: _Seen) -> Rollout | None:
    """A strategy by which its controller replaces no pod."""
    field = "updateStrategy" if seen.kind is not Kind.DEPLOYMENT else "strategy"
    if seen.kind is not Kind.DEPLOYMENT and seen.spec(field, "type") == "OnDelete":
        return Rollout(State.HELD, "its strategy is OnDelete: nothing replaces its pods but a person who deletes them")
    partition = seen.spec(field, "rollingUpdate", "partition") or 0
    if seen.kind is Kind.STATEFUL_SET and partition > 0:
        return Rollout(State.HELD, f"its partition is {partition}: pods below that number keep the template before")
    return None


def without_pods(seen: _Seen) -> Rollout | None:
    """Nothing to replace, and nothing that would serve."""
    if seen.wanted > 0 or seen.there:
        return None
    return Rollout(State.DONE, "it is to have no pods")


def given_up(seen: _Seen) -> Rollout | None:
    """Also while the counters look healthy, for the pods that are counted are of the template before."""
    for condition in seen.conditions("Progressing", "False"):
        if condition.get("reason") == "ProgressDeadlineExceeded":
            return Rollout(State.FAILED, "it made no progress within its progressDeadlineSeconds")
    return None


def cannot_make_pods(seen: _Seen) -> Rollout | None:
    """A quota, an admission webhook, a service account that is not there. It may pass: the deadline decides."""
    for condition in seen.conditions("ReplicaFailure", "True"):
        return Rollout(State.ROLLING, f"pods cannot be made ({condition.get('reason') or 'no reason told'})")
    return None


def behind(seen: _Seen) -> Rollout | None:
    """By its own counters, which know of pods that do not exist yet."""
    daemon = seen.kind is Kind.DAEMON_SET
    updated = seen.counter("updatedNumberScheduled" if daemon else "updatedReplicas")
    available = seen.counter("numberAvailable" if daemon else "availableReplicas")
    all_of_them = seen.counter("currentNumberScheduled" if daemon else "replicas")
    if updated < seen.wanted:
        return Rollout(State.ROLLING, f"{updated} of {seen.wanted} pods are of the new template")
    if all_of_them > updated:
        return Rollout(State.ROLLING, f"{all_of_them - updated} pods of the template before are left")
    if available < seen.wanted:
        return Rollout(State.ROLLING, f"{available} of {seen.wanted} pods are available")
    return None


def old_pods(seen: _Seen) -> Rollout | None:
    """No counter tells of a pod that is ending, and it serves until it has ended."""
    if not seen.old:
        return None
    return Rollout(State.ROLLING, f"still there, with the template before or ending: {_names(seen.old)}")


def unready_pods(seen: _Seen) -> Rollout | None:
    waiting = [pod for pod in seen.new if not is_ready(pod)]
    if waiting:
        return Rollout(State.ROLLING, f"not ready: {_names(waiting)}")
    if len(seen.new) < seen.wanted:
        return Rollout(State.ROLLING, f"{len(seen.new)} of {seen.wanted} pods are there")
    return None


# What tells that the rest is not to be believed comes first.
CHAIN: tuple[Check, ...] = (
    not_its_template,
    paused,
    deleted_by_hand,
    unseen,
    without_pods,
    given_up,
    cannot_make_pods,
    behind,
    old_pods,
    unready_pods,
)


def _names(pods: Sequence[Object]) -> str:
    names = sorted(str(inside(pod, "metadata", "name")) for pod in pods)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
