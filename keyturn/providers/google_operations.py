"""Google's long-running operations: a call answers with one, which is asked for again until it is done.

Form: the schema Operation of Google's discovery document of apikeys v2, revision 20260818; codes: google.rpc.Code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from keyturn.errors import (
    DeniedError,
    KeyturnError,
    MisconfiguredError,
    NotFoundError,
    PermanentError,
    ThrottledError,
    UnavailableError,
)
from keyturn.json_object import UnreadableError, mapping, text
from keyturn.providers.admin_api import AdminApi
from keyturn.providers.again import again

_NAME = re.compile(r"operations/[A-Za-z0-9._-]{1,200}")
_REFUSED: Mapping[int, type[KeyturnError]] = {
    3: MisconfiguredError,
    5: NotFoundError,
    7: DeniedError,
    8: ThrottledError,
    9: PermanentError,
    16: DeniedError,
}
FAILED_PRECONDITION = 9


class OperationError(Exception):
    """An operation that was done, and failed. `code`: of google.rpc.Code. Its message is Google's, and not kept."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code

    @property
    def refuses(self) -> bool:
        """Whether it says that nothing was done."""
        return self.code in _REFUSED

    def as_ours(self, what: str, remedy: str) -> KeyturnError:
        words = f"Google refuses {what} (code {self.code})"
        return _REFUSED.get(self.code, UnavailableError)(words, remedy=remedy)


async def until_done(api: AdminApi, document: Mapping[str, Any], patience: timedelta) -> None:
    """Return when it is done and well. OperationError; UnavailableError when it is not done in time."""
    name, done = _read(document)
    if done:
        return
    async for _ in again(patience):
        _, done = await api.read(f"/{name}", _read)
        if done:
            return
    raise UnavailableError(f"Google's {name} was not done after {patience.total_seconds():g} seconds")


def _read(document: Mapping[str, Any]) -> tuple[str, bool]:
    name, done = text(document.get("name")), document.get("done", False)
    if not _NAME.fullmatch(name) or not isinstance(done, bool):
        raise UnreadableError
    if "error" in document:
        code = mapping(document["error"]).get("code")
        if isinstance(code, bool) or not isinstance(code, int):
            raise UnreadableError
        raise OperationError(code)
    return name, done
