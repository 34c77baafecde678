"""Whom IAM's policy simulator is asked about: the user or role that credentials are of."""

from __future__ import annotations

import re

_ASSUMED = re.compile(r"arn:([a-z-]+):sts::(\d{12}):assumed-role/([^/]+)/.+")
_PRINCIPAL = re.compile(r"arn:[a-z-]+:iam::\d{12}:(user|role)/.+")


def principal_of(arn: str) -> str | None:
    """Whose policies count. Of an assumed role the path is not told; the root user has no policies."""
    if role := _ASSUMED.fullmatch(arn):
        return f"arn:{role[1]}:iam::{role[2]}:role/{role[3]}"
    return arn if _PRINCIPAL.fullmatch(arn) else None
