"""Secrets, namespaces and service accounts: the kinds of core/v1 that the Kubernetes double keeps from the start.

Of Secrets after the page "Secrets" of kubernetes.io and ValidateSecret of Kubernetes 1.36: `stringData` is merged into
`data` and never read back, a key is of `[-._a-zA-Z0-9]`, all values together have at most 1 MiB, `type` never changes, and
what is `immutable` stays so. That some types must hold certain keys (tls, dockerconfigjson) is left out.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from keyturn.testing.kubernetes_metadata import UndecodableError, go, string_map
from keyturn.testing.kubernetes_objects import Resource
from keyturn.testing.kubernetes_refusals import Cause, Object

LARGEST_SECRET = 1024 * 1024
_KEY = r"[-._a-zA-Z0-9]+"
_KEY_WORDS = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    f"'key-name', regex used for validation is '{_KEY}')"
)
_IMMUTABLE = "Forbidden: field is immutable when `immutable` is set"


def _secret_decoded(sent: Object) -> Object:
    found: Object = {}
    if (data := sent.get("data")) is not None:
        if not isinstance(data, dict):
            raise UndecodableError(f"json: cannot unmarshal {go(data)} into Go struct field Secret.data")
        found["data"] = {key: _canonical(value) for key, value in data.items()}
    if (texts := sent.get("stringData")) is not None:
        string_map(texts, "Secret.stringData")
        found["stringData"] = {key: text or "" for key, text in texts.items()}
    for name, kind in (("type", str), ("immutable", bool)):
        if (value := sent.get(name)) is not None:
            if not isinstance(value, kind):
                raise UndecodableError(f"json: cannot unmarshal {go(value)} into Go struct field Secret.{name}")
            found[name] = value
    return found


def _canonical(value: object) -> str:
    """As it is written again after it was read: line ends in base64 are passed over, and null is empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UndecodableError(f"json: cannot unmarshal {go(value)} into Go struct field Secret.data of type []uint8")
    text = value.replace("\r", "").replace("\n", "")
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode()
    except (binascii.Error, ValueError):
        wrong = re.search(r"[^A-Za-z0-9+/]", text)
        at = wrong.start() if wrong else len(text) - len(text) % 4
    raise UndecodableError(f"illegal base64 data at input byte {at}")


def _secret_prepared(new: Object, old: Object | None) -> Object:
    texts = new.pop("stringData", {})
    data = {**new.get("data", {}), **{key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}}
    if data:
        new["data"] = data
    else:
        new.pop("data", None)
    return {**new, "type": new.get("type") or (old["type"] if old else "Opaque")}


def _secret_causes(new: Object, old: Object | None) -> Iterator[Cause]:
    data = new.get("data", {})
    for key in data:
        if key in (".", "..") or key.startswith(".."):
            yield Cause(f"data[{key}]", f"Invalid value: \"{key}\": must not start with '..'")
        elif not re.fullmatch(_KEY, key):
            yield Cause(f"data[{key}]", f'Invalid value: "{key}": {_KEY_WORDS}')
        elif len(key) > 253:
            yield Cause(f"data[{key}]", f'Invalid value: "{key}": must be no more than 253 characters')
    if sum(len(base64.b64decode(value)) for value in data.values()) > LARGEST_SECRET:
        yield Cause("data", f"Too long: may not be more than {LARGEST_SECRET} bytes", "FieldValueTooLong")
    if old is None:
        return
    if new["type"] != old["type"]:
        yield Cause("type", f'Invalid value: "{new["type"]}": field is immutable')
    if old.get("immutable"):
        if not new.get("immutable"):
            yield Cause("immutable", _IMMUTABLE, "FieldValueForbidden")
        if data != old.get("data", {}):
            yield Cause("data", _IMMUTABLE, "FieldValueForbidden")


def _namespace_prepared(new: Object, old: Object | None) -> Object:
    metadata = new["metadata"]
    labels = {**metadata.get("labels", {}), "kubernetes.io/metadata.name": metadata.get("name", "")}
    kept = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    return {**new, "metadata": {**metadata, "labels": labels}, **kept}


SECRETS = Resource("", "v1", "secrets", "Secret", decoded=_secret_decoded, prepared=_secret_prepared, causes=_secret_causes)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False, label_name=True, prepared=_namespace_prepared)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")

CORE = (NAMESPACES, SECRETS, SERVICE_ACCOUNTS)
