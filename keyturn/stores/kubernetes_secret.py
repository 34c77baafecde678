"""Secrets of Kubernetes: what is kept where, see kubernetes_documents; how it is kept safe, staged_store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from keyturn.errors import NotFoundError, PermanentError
from keyturn.json_object import inside
from keyturn.kubernetes.access import Wanted
from keyturn.kubernetes.access_review import permission
from keyturn.kubernetes.client import KubernetesClient
from keyturn.kubernetes.owners import LAST_APPLIED, owners
from keyturn.kubernetes.settings import ConnectionSettings
from keyturn.model import Finding, SecretRef, VersionRef
from keyturn.references import Resolver
from keyturn.stores.kubernetes_changes import until_changed
from keyturn.stores.kubernetes_documents import LARGEST_SECRET, Documents, Place, demand_mutable, size_of
from keyturn.stores.staged_store import StagedStore
from keyturn.stores.two_documents import current_of

_ROOM = 8 * 1024  # bytes that a new key may be longer than the one before

# For people: where the two documents are.
_MAIN = "secrets/<name>"
_BESIDE = "secrets/<name>.<field>.keyturn"
_BOTH = f"{_MAIN} and {_BESIDE}"


class KubernetesSecret(StagedStore):
    """A SecretStore that TellsChanges. `CALLS` says what each verb needs, and kubernetes_rules gives it.

    `current` needs `get` on the first Secret, and `changed` `watch`: without it nothing else fails.
    It cannot tell who else may read Secrets of the namespace: whoever may create a pod there may.
    """

    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "stages": (f"GET {_BOTH}", f"get on {_BOTH}"),
        "create": (f"POST {_MAIN}, or PUT (resourceVersion)", f"create, get, update on {_MAIN}"),
        "stage": (f"PUT {_BESIDE} (resourceVersion), at first POST", f"update on {_BOTH}, create on secrets"),
        "spend": (f"PUT {_BESIDE} (resourceVersion), at first POST", f"update on {_BESIDE}, create on secrets"),
        "promote": (f"PUT {_BESIDE}, then PUT {_MAIN} (both resourceVersion)", f"update on {_BOTH}"),
        "bar": (f"PUT {_BESIDE} (resourceVersion)", f"update on {_BOTH}"),
        "discard": (f"PUT {_BESIDE} (resourceVersion)", f"update on {_BOTH}"),
        "annotate": (f"PUT {_BESIDE} (resourceVersion), at first POST", f"update on {_BESIDE}, create on secrets"),
        "annotations": (f"GET {_BESIDE}", f"get on {_BESIDE}"),
        "changed": (f"GET secrets?watch=true (fieldSelector metadata.name), of {_MAIN}", f"watch on {_MAIN}"),
    }

    class Settings(ConnectionSettings):
        """`namespace`: of a path that names none. `key`: what a whole secret's value is called in its Secret.

        `accept_owners`: that somebody else writes these Secrets, too, is told and stops nothing.
        """

        namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
        key: Annotated[str, Field(pattern=r"^[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,252}$")] = "key"
        accept_owners: bool = False

    def __init__(self, settings: Settings, resolve: Resolver) -> None:
        self._settings = settings
        self._client = KubernetesClient(settings, resolve)
        self._documents = Documents(self._client, settings.namespace, settings.key)
        super().__init__(self._documents)

    async def preflight(self, secret: SecretRef) -> Sequence[Finding]:
        """Looks at the Secret, its owners, its room, and the access of this user. A RetryableError comes through."""
        findings: list[Finding] = []
        exists = f"{secret} exists"
        try:
            place = self._documents.place(secret)
            main = await self._documents.main(secret)
            current_of(secret, main)
            findings.append(Finding(exists, True))
            findings += self._about(secret, main.content, place.namespace)
        except NotFoundError as error:
            findings.append(Finding(exists, False, error.message, error.remedy))
        except PermanentError as error:
            return [Finding(exists, False, error.message, error.remedy)]
        return [*findings, *await self._permissions(place)]

    async def changed(self, secret: SecretRef, since: VersionRef) -> None:
        """TellsChanges, by a watch. Permission needed: `watch` on the first Secret, and DeniedError without. See there."""
        await until_changed(self._client, self._documents, secret, since)

    async def aclose(self) -> None:
        await self._client.aclose()

    def _about(self, secret: SecretRef, found: Mapping[str, Any], namespace: str) -> Iterator[Finding]:
        """What there is to say about a Secret that is there."""
        what = f"{secret} can be changed"
        try:
            demand_mutable(found, namespace)
            going = bool(inside(found, "metadata", "deletionTimestamp"))
            yield Finding(
                what,
                not going,
                "it is being deleted, and waits for its finalizers" if going else "",
                "find out who deletes it" if going else "",
            )
        except PermanentError as error:
            yield Finding(what, False, error.message, error.remedy)
        room = LARGEST_SECRET - size_of(found)
        yield Finding(
            f"{secret} has room",
            room >= _ROOM,
            "" if room >= _ROOM else f"{max(room, 0)} bytes are left of the 1 MiB that a Secret holds",
            "" if room >= _ROOM else "move other keys out of it",
        )
        yield self._about_owners(secret, owners(found))
        if LAST_APPLIED in (inside(found, "metadata", "annotations") or {}):
            yield Finding(
                f"{secret} is in no manifest",
                None,
                "`kubectl apply` made it: an annotation repeats the value of then, and the next one puts that back",
                f"take its data out of the manifest, and `kubectl annotate secret NAME {LAST_APPLIED}-`",
            )

    def _about_owners(self, secret: SecretRef, others: Sequence[str]) -> Finding:
        what = f"nobody else writes {secret}"
        if not others:
            return Finding(what, True)
        return Finding(
            what,
            None if self._settings.accept_owners else False,
            f"{', '.join(others)} would write over a new key",
            "rotate the secret where it comes from (Vault, AWS: a store of that kind), or take it from its owner; with "
            "`accept_owners: true` keyturn writes it all the same",
        )

    async def _permissions(self, place: Place) -> list[Finding]:
        space, wanted = place.namespace, [Wanted(verb, place.namespace, place.main) for verb in ("get", "update")]
        wanted += [Wanted(verb, space, place.beside) for verb in ("get", "update")]
        try:
            there = await self._documents.get(space, place.beside) is not None
        except PermanentError:
            there = False  # told below, by its permission
        if not there:
            wanted.append(Wanted("create", space, place.beside))
        return [await permission(self._client, each) for each in wanted]
