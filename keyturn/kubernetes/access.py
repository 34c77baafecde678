"""What may be done to objects in Kubernetes: one permission, as the server is asked for it, and as a rule of a Role.

After the page "Using RBAC Authorization" of kubernetes.io. A create cannot be granted by name, nor can a list by labels:
their rules name none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Wanted:
    """One verb on one object. `verb`: get, list, watch, update, patch or create. `name`: "" where the request has none.

    `resource`: the plural, as paths have it; `group`: "" for the core one.
    """

    verb: str
    namespace: str
    name: str
    resource: str = "secrets"
    group: str = ""

    def __str__(self) -> str:
        if not self.name:
            return f"{self.verb} the {self.resource} of {self.namespace}"
        return f"{self.verb} the {self.resource.removesuffix('s')} {self.namespace}/{self.name}"

    @property
    def _is_named(self) -> bool:
        return self.verb != "create" and self.name != ""

    def rule(self) -> str:
        """For people: the rule of a Role that grants it, as YAML has it in one line."""
        names = f", resourceNames: [{self.name}]" if self._is_named else ""
        return f"{{apiGroups: [{self.group or chr(34) * 2}], resources: [{self.resource}]{names}, verbs: [{self.verb}]}}"

    def attributes(self) -> dict[str, Any]:
        """As SelfSubjectAccessReview takes it."""
        named = {"name": self.name} if self._is_named else {}
        return {"namespace": self.namespace, "verb": self.verb, "group": self.group, "resource": self.resource, **named}
