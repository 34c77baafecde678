"""An answer of a Kubernetes API server: an object, or the Status that says why not.

After the API conventions ("Response Status Kind"): `reason` is one word for machines, and `details` names what it is about.
Its `message` is for people, may quote whole objects (a patch that cannot be decoded does), and is never repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keyturn.json_object import UnreadableError, inside, mapping, plain_id


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gave. `body`: the JSON object in it, empty where it has none that can be read."""

    status: int
    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def reason(self) -> str:
        """Of a refusal in the server's words; "" for all else."""
        reason = self.body.get("reason") if self.body.get("kind") == "Status" else None
        return reason if isinstance(reason, str) else ""

    def is_about(self, plural: str, name: str) -> bool:
        """Whether a refusal names this object."""
        return (inside(self.body, "details", "kind"), inside(self.body, "details", "name")) == (plural, name)

    def has_cause(self, reason: str) -> bool:
        """Whether a refusal gives this among its causes."""
        causes = inside(self.body, "details", "causes")
        return isinstance(causes, list) and any(inside(each, "reason") == reason for each in causes)

    def complains_of(self, words: str) -> bool:
        """Whether its message holds these words, in lower case. They decide, and are never quoted."""
        message = self.body.get("message") if self.body.get("kind") == "Status" else None
        return isinstance(message, str) and words in message.lower()


def object_of(answer: Answer, kind: str, name: str) -> dict[str, Any]:
    """The object in it. UnreadableError for anything else than one of this kind and name, with a version."""
    found = dict(answer.body)
    metadata = mapping(found.get("metadata"))
    plain_id(metadata.get("resourceVersion"))
    if (found.get("kind"), found.get("apiVersion"), metadata.get("name")) != (kind, "v1", name):
        raise UnreadableError
    for part in ("labels", "annotations"):
        if not isinstance(metadata.get(part), dict | None):
            raise UnreadableError
    return found
