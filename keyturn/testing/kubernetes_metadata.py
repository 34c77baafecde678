"""The metadata of a Kubernetes object: what is kept of it, what the server sets, and what makes it invalid.

After the API conventions ("Metadata") and the page "Object Names and IDs" of kubernetes.io; limits and words after
k8s.io/apimachinery/pkg/api/validation 1.36. `managedFields` are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from keyturn.testing.kubernetes_refusals import Cause, Object

_KEPT = (
    *("name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"),
    *("deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers"),
)
_SERVERS_OWN = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_ANNOTATIONS_LIMIT = 256 * 1024
_LABEL_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"

_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    f"with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    f"alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_QUALIFIED_WORDS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_LABEL_VALUE}')"
)


class UndecodableError(Exception):
    """What was sent is no such object. Its text is the server's, without what it stands in."""


def decoded(metadata: Any) -> Object:
    """The metadata as far as the server knows its fields. UndecodableError where their types are wrong."""
    if not isinstance(metadata, dict | None):
        raise UndecodableError("json: cannot unmarshal into Go struct field .metadata of type v1.ObjectMeta")
    kept = {name: value for name, value in (metadata or {}).items() if name in _KEPT and value is not None}
    for name, value in kept.items():
        if name in ("labels", "annotations"):
            string_map(value, f"ObjectMeta.metadata.{name}")
        elif name in ("ownerReferences", "finalizers"):
            if not isinstance(value, list):
                raise UndecodableError(f"json: cannot unmarshal into Go struct field ObjectMeta.metadata.{name}")
        elif name not in ("generation", "deletionGracePeriodSeconds") and not isinstance(value, str):
            raise UndecodableError(f"json: cannot unmarshal into Go struct field ObjectMeta.metadata.{name} of type string")
    return {name: value for name, value in kept.items() if value != {} and value != []}


def string_map(value: Any, field: str) -> None:
    """UndecodableError for anything but a map of texts."""
    if not isinstance(value, dict):
        raise UndecodableError(f"json: cannot unmarshal {go(value)} into Go struct field {field} of type map[string]string")
    for each in value.values():
        if not isinstance(each, str | None):
            raise UndecodableError(f"json: cannot unmarshal {go(each)} into Go struct field {field} of type string")


def go(value: Any) -> str:
    """How Go's JSON reader calls it."""
    names = {bool: "bool", str: "string", dict: "object", list: "array"}
    return names.get(type(value), "number")


def carried(new: Object, old: Object) -> Object:
    """The metadata of an update: what is the server's own comes from what was there."""
    theirs = {name: value for name, value in new.items() if name not in _SERVERS_OWN}
    return {**theirs, **{name: old[name] for name in _SERVERS_OWN if name in old}}


def causes(metadata: Object, *, label_name: bool = False) -> Iterator[Cause]:
    """What is wrong with it."""
    name = metadata.get("name", "")
    form, words, most = (_LABEL, _LABEL_WORDS, 63) if label_name else (_SUBDOMAIN, _SUBDOMAIN_WORDS, 253)
    if not name:
        yield Cause("metadata.name", "Required value: name or generateName is required", "FieldValueRequired")
    elif len(name) > most:
        yield Cause("metadata.name", f'Invalid value: "{name}": must be no more than {most} bytes')
    elif not re.fullmatch(form, name):
        yield Cause("metadata.name", f'Invalid value: "{name}": {words}')
    yield from _label_causes(metadata.get("labels") or {})
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    for key in annotations:
        yield from _key_causes("metadata.annotations", key)
    if sum(len(key.encode()) + len((value or "").encode()) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        words = f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes"
        yield Cause("metadata.annotations", words, "FieldValueTooLong")


def _label_causes(labels: Mapping[str, str]) -> Iterator[Cause]:
    for key, value in labels.items():
        yield from _key_causes("metadata.labels", key)
        if len(value) > 63:
            yield Cause("metadata.labels", f'Invalid value: "{value}": must be no more than 63 bytes')
        if not re.fullmatch(_LABEL_VALUE, value):
            yield Cause("metadata.labels", f'Invalid value: "{value}": {_LABEL_VALUE_WORDS}')


def _key_causes(field: str, key: str) -> Iterator[Cause]:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not re.fullmatch(_SUBDOMAIN, prefix.lower())):
        yield Cause(field, f'Invalid value: "{key}": prefix part {_SUBDOMAIN_WORDS}')
    if len(name) > 63:
        yield Cause(field, f'Invalid value: "{key}": name part must be no more than 63 bytes')
    if not re.fullmatch(_QUALIFIED, name):
        yield Cause(field, f'Invalid value: "{key}": {_QUALIFIED_WORDS}')


def selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether a label selector (`a=b`, `a!=b`, `a in (b, c)`, `a notin (b)`, `a`, `!a`, joined by commas) takes them.

    ValueError for one that cannot be read.
    """
    return all(_selects_by(each.strip(), labels) for each in re.split(r",(?![^(]*\))", selector) if each.strip())


def _selects_by(requirement: str, labels: Mapping[str, str]) -> bool:
    if found := re.fullmatch(r"([^\s!=,()]+)\s+(in|notin)\s*\(([^()]*)\)", requirement):
        wanted = {each.strip() for each in found[3].split(",")}
        return (labels.get(found[1]) in wanted) == (found[2] == "in")
    if found := re.fullmatch(r"([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)", requirement):
        return (labels.get(found[1]) == found[3]) == (found[2] != "!=")
    if found := re.fullmatch(r"(!?)\s*([^\s!=,()]+)", requirement):
        return (found[2] in labels) == (found[1] == "")
    raise ValueError("no label selector")
