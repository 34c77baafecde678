"""The controller of Deployments in the Kubernetes double: it rolls pods from one template to the next, as a real one does.

After the page "Deployments" of kubernetes.io and held to recordings: the order of what it writes, and so what a watch sees,
is a real one's. First the revision and NewReplicaSetCreated **with the counters of before**; then `observedGeneration`.
"""

from __future__ import annotations

from keyturn.testing import kubernetes_revisions as revisions
from keyturn.testing.kubernetes_deployment_status import (
    CREATED,
    FOUND,
    PAUSED,
    RESUMED,
    TIMED_OUT,
    condition,
    counted,
    found,
    has_deadline,
    is_complete,
    progressed,
    with_condition,
)
from keyturn.testing.kubernetes_deployments import DEPLOYMENTS
from keyturn.testing.kubernetes_objects import Cluster
from keyturn.testing.kubernetes_owners import owned_by
from keyturn.testing.kubernetes_pods import PODS, is_finished
from keyturn.testing.kubernetes_refusals import Object
from keyturn.testing.kubernetes_revisions import REVISION
from keyturn.testing.kubernetes_rolling import new_size, old_sizes, scaled_sizes, size


def sync(cluster: Cluster, deployment: Object) -> None:
    """Look at one, act, and tell. RefusedError: something has changed meanwhile, look again."""
    if "deletionTimestamp" in deployment["metadata"]:
        return
    look = _Look(cluster, deployment)
    look.tell_whether_paused()
    if deployment["spec"].get("paused") or any(
        revisions.is_of_another_size(deployment, each) for each in look.sets_with_pods()
    ):
        look.scale()
    elif deployment["spec"]["strategy"]["type"] == "Recreate":
        look.recreate()
    else:
        look.roll()


class _Look:
    """One look at a Deployment: what is there, as far as it was written or read by this look."""

    def __init__(self, cluster: Cluster, deployment: Object) -> None:
        self._cluster = cluster
        self._deployment = deployment
        self._new, self._old = revisions.all_of(cluster, deployment)

    def sets_with_pods(self) -> list[Object]:
        return [each for each in (*self._old, *([self._new] if self._new else [])) if size(each) > 0]

    def tell_whether_paused(self) -> None:
        conditions = self._deployment["status"].get("conditions", [])
        had, paused = found(conditions, "Progressing"), bool(self._deployment["spec"].get("paused"))
        reason = had["reason"] if had is not None else ""
        if not has_deadline(self._deployment) or reason == TIMED_OUT or paused == (reason == PAUSED):
            return
        said = ("Deployment is paused", PAUSED) if paused else ("Deployment is resumed", RESUMED)
        self._say(condition("Progressing", "Unknown", said[1], said[0]))

    def roll(self) -> None:
        new = self._with_new()
        wanted = new_size(self._deployment, size(new), self._old)
        if wanted != size(new):
            self._new = revisions.scaled(self._cluster, self._deployment, new, wanted)
        elif not self._shrink(old_sizes(self._deployment, new, self._old)):
            self._tidy_if_complete()
        self._tell_progress()

    def recreate(self) -> None:
        """Nothing of the newest template is made before everything of the others has ended."""
        self._revise()
        if not self._shrink([0 for _ in self._old]) and not self._pods_of_old():
            new = self._with_new()
            wanted = size(self._deployment)
            if size(new) != wanted:
                self._new = revisions.scaled(self._cluster, self._deployment, new, wanted)
            self._tidy_if_complete()
        self._tell_progress()

    def scale(self) -> None:
        """Only the size is changed: that of the one that has pods, or of each by its share."""
        self._revise()
        sets = self.sets_with_pods() or ([self._new] if self._new else self._old[-1:])
        if len(sets) == 1:
            sizes = [size(self._deployment)]
        elif self._new and size(self._new) == self._new["status"].get("availableReplicas", 0) == size(self._deployment):
            sizes = [size(each) if each is self._new else 0 for each in sets]
        else:
            rolling = self._deployment["spec"]["strategy"]["type"] == "RollingUpdate"
            sizes = scaled_sizes(self._deployment, sets, rolling=rolling)
        for each, wanted in zip(sets, sizes, strict=True):
            self._exchange(each, revisions.scaled(self._cluster, self._deployment, each, wanted))
        self._write(counted(self._deployment, self._new, self._old, self._cluster.now()))

    def _revise(self) -> None:
        """The revision of the newest template, where it has a ReplicaSet already."""
        if self._new is None:
            return
        revision = max((revisions.revision_of(each) for each in self._old), default=0) + 1
        self._new = revisions.brought_up_to_date(self._cluster, self._deployment, self._new, revision)
        self._tell_revision(FOUND, "Found new replica set", only_first=True)

    def _with_new(self) -> Object:
        self._revise()
        if self._new is None:
            revision = max((revisions.revision_of(each) for each in self._old), default=0) + 1
            wanted = new_size(self._deployment, 0, self._old)
            self._new = revisions.made(self._cluster, self._deployment, revision, wanted)
            self._tell_revision(CREATED, "Created new replica set", only_first=False)
        return self._new

    def _tell_revision(self, reason: str, words: str, *, only_first: bool) -> None:
        assert self._new is not None
        metadata = self._deployment["metadata"]
        told = self._new["metadata"]["annotations"][REVISION]
        annotations = {**metadata.get("annotations", {}), REVISION: told}
        status = self._deployment["status"]
        conditions = status.get("conditions", [])
        if has_deadline(self._deployment) and not (only_first and found(conditions, "Progressing")):
            said = condition("Progressing", "True", reason, f'{words} "{self._new["metadata"]["name"]}"')
            status = {**status, "conditions": with_condition(conditions, said, self._cluster.now())}
        self._write(status, {**metadata, "annotations": annotations})

    def _shrink(self, sizes: list[int]) -> bool:
        """Whether any of the others was made smaller."""
        smaller = [(each, wanted) for each, wanted in zip(self._old, sizes, strict=True) if size(each) != wanted]
        for each, wanted in smaller:
            self._exchange(each, revisions.scaled(self._cluster, self._deployment, each, wanted))
        return bool(smaller)

    def _exchange(self, before: Object, after: Object) -> None:
        if before is self._new:
            self._new = after
        else:
            self._old = [after if each is before else each for each in self._old]

    def _pods_of_old(self) -> list[Object]:
        return [pod for each in self._old for pod in owned_by(self._cluster, PODS, each) if not is_finished(pod)]

    def _tidy_if_complete(self) -> None:
        if is_complete(self._deployment, counted(self._deployment, self._new, self._old, self._cluster.now())):
            revisions.tidied(self._cluster, self._deployment, self._old)

    def _tell_progress(self) -> None:
        self._write(progressed(self._deployment, self._new, self._old, self._cluster.now()))

    def _say(self, said: Object) -> None:
        status = self._deployment["status"]
        conditions = with_condition(status.get("conditions", []), said, self._cluster.now())
        self._write({**status, "conditions": conditions})

    def _write(self, status: Object, metadata: Object | None = None) -> None:
        parts = {"status": status, **({"metadata": metadata} if metadata else {})}
        self._deployment = self._cluster.write_parts(DEPLOYMENTS, self._deployment, parts)
