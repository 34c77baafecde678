"""Who owns what in the Kubernetes double: the references that controllers set, and what goes with its owner.

After the pages "Owners and Dependents" and "Garbage Collection" of kubernetes.io. Every delete is one in the background:
what is owned goes after its owner. Nothing that has no owner is adopted.
"""

from __future__ import annotations

from keyturn.testing.kubernetes_objects import Cluster, Resource
from keyturn.testing.kubernetes_refusals import Object


def reference_to(owner: Object) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "blockOwnerDeletion": True,
        "controller": True,
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }


def owned_by(cluster: Cluster, resource: Resource, owner: Object) -> list[Object]:
    """Its objects of this kind, oldest first."""
    there = cluster.list(resource, owner["metadata"]["namespace"])[0]
    owned = [each for each in there if controller_of(each) == owner["metadata"]["uid"]]
    return sorted(owned, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))


def controller_of(each: Object) -> str | None:
    """The uid of who owns it."""
    found = (reference for reference in each["metadata"].get("ownerReferences", []) if reference.get("controller"))
    return next((str(reference["uid"]) for reference in found), None)


def collect(cluster: Cluster, owners: Resource, owned: Resource) -> None:
    """Delete what an owner of this kind has left behind."""
    there = {each["metadata"]["uid"] for each in cluster.list(owners)[0]}
    for each in cluster.list(owned)[0]:
        references = [it for it in each["metadata"].get("ownerReferences", []) if it.get("kind") == owners.kind]
        if references and not there & {it["uid"] for it in references} and "deletionTimestamp" not in each["metadata"]:
            cluster.delete(owned, each["metadata"]["namespace"], each["metadata"]["name"])
