"""Waiting until a key in a Secret is another one: by a watch of that one Secret.

After the page "Kubernetes API Concepts" ("Efficient detection of changes"). **The watch names no resourceVersion.** Then the
server begins with the Secret as it is (an ADDED), and goes on with all that happens to it later: so nothing is lost between
a read and the watch, nor between the end of one watch and the next, however long that takes. To go on from a version would
spare one object for each watch, and would have to know what to do when the server has forgotten it (410). A server that lags
behind may begin with an older state. Whoever waits here then reads for nothing, which the port allows.

The watch names the Secret by `fieldSelector=metadata.name=...`, which RBAC takes for a name: `watch` on it is enough.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from keyturn.errors import KeyturnError, RetryableError, ThrottledError
from keyturn.kubernetes.access import Wanted
from keyturn.kubernetes.answer import Answer
from keyturn.kubernetes.client import KubernetesClient
from keyturn.model import SecretRef, VersionRef
from keyturn.stores.kubernetes_documents import Documents, path_of
from keyturn.stores.two_documents import current_of

SECONDS = 120  # until the server is to end a watch: a connection that died without a word is found out after that
_MORE = 10.0  # seconds that the client waits longer
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds, between watches that end early
_EARLY = 10.0  # seconds


async def until_changed(client: KubernetesClient, documents: Documents, secret: SecretRef, since: VersionRef) -> None:
    """Return when the key is there and is another one; at once where it is. What is gone, or no key, is waited for.

    An outage is waited for, too: the watch is begun anew, after a pause that grows to half a minute. DeniedError without
    `watch` on the Secret, other PermanentErrors of the client as they are.
    """
    place = documents.place(secret)
    wanted = Wanted("watch", place.namespace, place.main)
    query = f"watch=true&fieldSelector=metadata.name%3D{place.main}&timeoutSeconds={SECONDS}"
    path = f"{path_of(place.namespace)}?{query}"

    def tell(kind: str, found: Mapping[str, Any]) -> bool:
        about = documents.object_of(Answer(200, found), place.main)
        return kind != "DELETED" and _is_another(documents, secret, about, since)

    pause, now = _FIRST_PAUSE, asyncio.get_running_loop().time
    while True:
        began, asked_for = now(), 0.0
        try:
            if await client.watch(path, wanted, SECONDS + _MORE, tell):
                return
        except RetryableError as error:
            asked_for = (error.retry_after or 0.0) if isinstance(error, ThrottledError) else 0.0
        pause = _FIRST_PAUSE if now() - began > _EARLY else pause
        # By chance, because a server that was restarted has ended every watch at once.
        await asyncio.sleep(max(asked_for, pause * random.uniform(0.5, 1.5)))  # noqa: S311  no secret
        pause = min(2 * pause, _LONGEST_PAUSE)


def _is_another(documents: Documents, secret: SecretRef, found: dict[str, Any], since: VersionRef) -> bool:
    try:
        return current_of(secret, documents.main_of(secret, found)).version != since
    except KeyturnError:
        return False  # nothing that could be read
