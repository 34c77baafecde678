"""GitHub's webhook `secret_scanning_alert`.

Read: docs.github.com/webhooks/webhook-events-and-payloads#secret_scanning_alert, and its schema and examples in
github/rest-api-description and octokit/webhooks (`action`, `alert.number`, `alert.secret_type`, `repository.full_name`).
The webhook does not hold the secret. The API does: GET /repos/{owner}/{repo}/secret-scanning/alerts/{number}, `secret`, for
a token with the permission "Secret scanning alerts" (read) or the classic scope `security_events`.
"""

from __future__ import annotations

import re

from keyturn.incidents.leak import Leak, Lookup
from keyturn.incidents.reading import material, name
from keyturn.json_object import UnreadableError, inside, json_value, mapping
from keyturn.material import KeyMaterial

# A leak that is new, or open again, or has become public. What else happens to an alert is no leak.
ACTIONS = frozenset({"created", "reopened", "publicly_leaked"})
_REPOSITORY = re.compile(r"(?!\.{1,2}/)[A-Za-z0-9_.-]{1,100}/(?!\.{1,2}$)[A-Za-z0-9_.-]{1,100}")
_MOST = 10**12


def read(body: bytes) -> tuple[Leak, Lookup] | None:
    """The alert, and where the API has its secret; None for what is no leak. UnreadableError for what is no such event."""
    event = mapping(json_value(body))
    action, alert, number = event.get("action"), event.get("alert"), inside(event, "alert", "number")
    if alert is None and "zen" in event:
        return None  # GitHub's ping, when the webhook is made
    repository = inside(event, "repository", "full_name")
    if not isinstance(action, str) or not isinstance(number, int) or isinstance(number, bool) or not 0 < number < _MOST:
        raise UnreadableError
    if not isinstance(repository, str) or not _REPOSITORY.fullmatch(repository):
        raise UnreadableError
    if action not in ACTIONS:
        return None
    leak = Leak(type=name(inside(alert, "secret_type")), alert=f"{repository.lower()}#{number}")
    return leak, Lookup(f"/repos/{repository}/secret-scanning/alerts/{number}")


def secret_in(answer: bytes) -> KeyMaterial | None:
    """The key in the API's answer."""
    return material(inside(json_value(answer), "secret"))
