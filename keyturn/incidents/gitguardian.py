"""GitGuardian's custom webhook.

Read: docs.gitguardian.com/platform/configure-alerting/notifiers-integrations/custom-webhook (`action`, `incident.id`,
`incident.detector.name`, `incident.hmsl_hash`). It does not hold the secret.
"""

from __future__ import annotations

import re

from keyturn.incidents.leak import Digest, Digests, Leak
from keyturn.incidents.reading import name
from keyturn.json_object import UnreadableError, inside, json_value, mapping

ACTIONS = frozenset({"incident_triggered", "incident_reopened", "incident_regression"})
_HASH = re.compile(r"[0-9a-f]{64}")


def read(body: bytes) -> Leak | None:
    """The incident; None for what is no leak. UnreadableError for what is no event of an incident's."""
    event = mapping(json_value(body))
    action = event.get("action")
    if not isinstance(action, str):
        raise UnreadableError
    if action not in ACTIONS:
        return None
    incident = mapping(event.get("incident"))
    number, digest = name(incident.get("id")), incident.get("hmsl_hash")
    if not number:
        raise UnreadableError
    known = isinstance(digest, str) and _HASH.fullmatch(digest)
    return Leak(
        digest=Digest(Digests.HMSL, str(digest)) if known else None,
        type=name(inside(incident, "detector", "name")),
        alert=number,
    )
