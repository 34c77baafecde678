"""What may be done to Secrets in Kubernetes: one permission, as the server is asked for it, and as a rule of a Role.

After the page "Using RBAC Authorization" of kubernetes.io. A create cannot be granted by name: its rule names none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Wanted:
    """One verb on one Secret. `verb`: get, watch, update or create."""

    verb: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.verb} the secret {self.namespace}/{self.name}"

    def rule(self) -> str:
        """For people: the rule of a Role that grants it, as YAML has it in one line."""
        names = "" if self.verb == "create" else f", resourceNames: [{self.name}]"
        return f'{{apiGroups: [""], resources: [secrets]{names}, verbs: [{self.verb}]}}'

    def attributes(self) -> dict[str, Any]:
        """As SelfSubjectAccessReview takes it."""
        named = {} if self.verb == "create" else {"name": self.name}
        return {"namespace": self.namespace, "verb": self.verb, "group": "", "resource": "secrets", **named}
