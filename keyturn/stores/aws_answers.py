"""Whether what answered a call of Secrets Manager can be its answer. What we read of one is of the types that AWS declares.

The SDK checks what it sends, and hands on whatever it is answered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from keyturn.json_object import UnreadableError, has_half_a_character, plain_id

_REGION = re.compile(r"[a-z0-9-]{1,128}")
_LONGEST_ID = 64  # as declared for a version's id
_LABEL_OR_STATE = 256


def is_of_aws(operation: str, answer: Any) -> bool:
    """Whether the fields of this answer that keyturn reads are there, and of their types."""
    if not isinstance(answer, dict) or _status(answer) != 200:
        return False
    if operation not in _FIELDS and not _bears_its_marks(answer):
        return False
    required, optional = _FIELDS.get(operation, ({}, {}))
    return all(name in answer and check(answer[name]) for name, check in required.items()) and all(
        check(answer[name]) for name, check in optional.items() if name in answer
    )


def _status(answer: Mapping[str, Any]) -> Any:
    metadata = answer.get("ResponseMetadata")
    return metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None


def _bears_its_marks(answer: Mapping[str, Any]) -> bool:
    """For an answer with nothing in it to check, as that to a tag: the SDK takes any page with a 200 for one.

    Source: AWS's JSON 1.1 protocol (Smithy): answers are of the type application/x-amz-json-1.1; AWS's own also have the
    header x-amzn-RequestId, which the SDK gives as RequestId. One of the two is enough.
    """
    metadata = answer["ResponseMetadata"]
    headers = metadata.get("HTTPHeaders")
    kind = headers.get("content-type") if isinstance(headers, dict) else None
    return bool(metadata.get("RequestId")) or (isinstance(kind, str) and kind.startswith("application/x-amz-json"))


def _short(longest: int) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        try:
            return bool(plain_id(value, longest))
        except UnreadableError:
            return False

    return check


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not has_half_a_character(value)


def _is_region(value: Any) -> bool:
    return isinstance(value, str) and _REGION.fullmatch(value) is not None


def _is_list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _has(required: str, is_name: Callable[[Any], bool], *optional: str) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, dict) and is_name(value.get(required)) and all(_is_text(value.get(name, "")) for name in optional)
    )


def _are_versions(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_id(name) and _are_labels(labels) for name, labels in value.items())


_is_id, _is_arn = _short(_LONGEST_ID), _short(2048)
_are_labels = _is_list_of(_short(_LABEL_OR_STATE))

_Fields = Mapping[str, Callable[[Any], bool]]
_NAMED: _Fields = {"ARN": _is_arn}
_FIELDS: Mapping[str, tuple[_Fields, _Fields]] = {
    "DescribeSecret": (
        _NAMED,
        {
            "VersionIdsToStages": _are_versions,
            "Tags": _is_list_of(_has("Key", _is_text, "Value")),
            "ReplicationStatus": _is_list_of(_has("Region", _is_region, "Status", "StatusMessage")),
            "RotationEnabled": lambda value: isinstance(value, bool),
            "RotationLambdaARN": _is_text,
            "PrimaryRegion": _is_region,
        },
    ),
    "CreateSecret": (_NAMED, {"VersionId": _is_id}),
    "GetSecretValue": ({**_NAMED, "VersionId": _is_id}, {"SecretString": _is_text}),
    "PutSecretValue": (_NAMED, {"VersionStages": _are_labels}),
    "UpdateSecretVersionStage": (_NAMED, {}),
}
