"""What stands in the answers of xAI's management API, and which key another one's permissions are copied from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyturn.json_object import UnreadableError
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.fields import hint_of, items, key_text, mapping, name_of, optional_iso, plain_id, text
from keyturn.providers.pages import TokenPage

_LIMITS = ("qps", "qpm", "tpm")


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as it is listed. `limits`: its qps, qpm and tpm, those that it has, as they are sent with a create."""

    ref: KeyRef
    acls: Sequence[str]
    limits: Mapping[str, Any]
    disabled: bool

    @property
    def age(self) -> tuple[float, str]:
        return (self.ref.created_at.timestamp() if self.ref.created_at else 0, self.ref.id)


def created(document: Mapping[str, Any]) -> CreatedKey:
    return CreatedKey(entry(document).ref, key_text(document.get("apiKey")))


def turned(id: str) -> Callable[[Mapping[str, Any]], CreatedKey]:
    """Of the answer to a rotate, which tells the same key."""

    def parse(document: Mapping[str, Any]) -> CreatedKey:
        found = created(document)
        if found.ref.id != id:
            raise UnreadableError
        return found

    return parse


def page(document: Mapping[str, Any]) -> TokenPage[Entry]:
    token = document.get("paginationToken") or ""
    return [entry(each) for each in items(document.get("apiKeys"))], text(token) if token else ""


def entry(data: Mapping[str, Any]) -> Entry:
    """The page has `aclStrings` and a boolean in one place, `acl_strings` and a text in another."""
    acls = data.get("aclStrings") or data.get("acl_strings") or []
    if not isinstance(acls, list):
        raise UnreadableError
    ref = KeyRef(
        id=plain_id(data.get("apiKeyId")),
        name=name_of(data.get("name")),
        hint=hint_of(data.get("redactedApiKey")),
        owner=name_of(data.get("userId")),
        created_at=optional_iso(data.get("createTime")),
        expires_at=optional_iso(data.get("expireTime")),
    )
    limits = {name: data[name] for name in _LIMITS if data.get(name) is not None}
    return Entry(ref, [text(each) for each in acls], limits, data.get("disabled") in (True, "true"))


def lacking_regions(document: Mapping[str, Any]) -> int:
    """How many regions do not have the key."""
    regions = mapping(document.get("icPropagation"))
    if not regions:
        raise UnreadableError
    return sum(has is not True for has in regions.values())


def example_for(label: str, entries: Sequence[Entry], copy_from: str | None) -> Entry | None:
    """The newest key of the same credential, whose name is `keyturn-<credential>-<mark>-` and another number (see
    model.Mark); where there is none, the newest of that name or id."""
    family = label.rpartition("-")[0]
    ours = [each for each in entries if family and each.ref.name.rpartition("-")[0] == family and not each.disabled]
    named = [each for each in entries if copy_from is not None and copy_from in (each.ref.name, each.ref.id)]
    return max(ours or named, key=lambda each: each.age, default=None)
