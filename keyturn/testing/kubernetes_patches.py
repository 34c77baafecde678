"""The three kinds of patch that a Kubernetes API server takes, as its pages describe them.

JSON patch is RFC 6902, merge patch RFC 7386. Strategic merge is Kubernetes' own
(kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch): maps merge, and a list merges where
the field's schema says so, by a key or as a set; every other list is replaced. Of its directives `$patch` (replace, delete)
and `$deleteFromPrimitiveList` are there; `$retainKeys` and `$setElementOrder` are refused.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import jsonpatch

from keyturn.testing.kubernetes_refusals import Object, bad_request, patch_failed, unsupported_media

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"

Path = tuple[str, ...]
MergeKeys = Mapping[Path, str]
"""How lists merge, by their path (items have no name in it): the key of their items, or "" for a set of plain values."""

METADATA_KEYS: MergeKeys = {("metadata", "ownerReferences"): "uid", ("metadata", "finalizers"): ""}


def patched(current: Object, kind: str, patch: Any, keys: MergeKeys = METADATA_KEYS) -> Object:
    """The object that a patch of this content type makes of the current one. RefusedError as the server refuses."""
    if kind == JSON_PATCH:
        return _json_patched(current, patch)
    if kind not in (MERGE_PATCH, STRATEGIC_MERGE_PATCH):
        raise unsupported_media([JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH])
    if not isinstance(patch, dict):
        raise bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")
    merged = _merged(current, patch) if kind == MERGE_PATCH else _strategic(current, patch, keys, ())
    if not isinstance(merged, dict):
        raise bad_request("the patch leaves no object")
    return merged


def _json_patched(current: Object, patch: Any) -> Object:
    if not isinstance(patch, list):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    found: Any = None
    try:
        found = jsonpatch.apply_patch(copy.deepcopy(current), patch)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError):
        found = None
    if not isinstance(found, dict):
        raise patch_failed()
    return found


def _merged(current: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(current) if isinstance(current, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _strategic(current: Any, patch: Any, keys: MergeKeys, path: Path) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get("$patch")
    result = dict(current) if isinstance(current, dict) and directive != "replace" else {}
    for name, value in patch.items():
        where = (*path, name)
        if name == "$patch":
            continue
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            result[field] = [each for each in result.get(field) or [] if each not in value]
        elif name.startswith("$"):
            raise bad_request(f"{name}: this double does not know the directive")
        elif value is None:
            result.pop(name, None)
        elif isinstance(value, list) and where in keys:
            result[name] = _list(result.get(name) or [], value, keys, where)
        else:
            result[name] = _strategic(result.get(name), value, keys, where)
    return result


def _list(current: list[Any], patch: list[Any], keys: MergeKeys, path: Path) -> list[Any]:
    key = keys[path]
    if not key:
        return [*current, *(each for each in patch if each not in current)]
    if any(isinstance(each, dict) and each.get("$patch") == "replace" for each in patch):
        return [each for each in patch if "$patch" not in each]
    result = list(current)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: does not contain declared merge key: {key}")
        there = next((n for n, each in enumerate(result) if each.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            result = [each for each in result if each.get(key) != item[key]]
        elif there is None:
            result.append(_strategic({}, item, keys, path))
        else:
            result[there] = _strategic(result[there], item, keys, path)
    return result
