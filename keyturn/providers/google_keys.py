"""The calls of Google's API Keys API v2, as its discovery document of revision 20260818 has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from keyturn.errors import KeyturnError, LostAnswerError, NotFoundError, RetryableError, UnavailableError
from keyturn.json_object import UnreadableError, inside
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef
from keyturn.providers.admin_api import AdminApi, segment
from keyturn.providers.fields import iso, items, key_text, name_of, plain_id, text
from keyturn.providers.google_operations import FAILED_PRECONDITION, OperationError, until_done
from keyturn.providers.pages import TokenPage, by_token

_PAGE = 300
Raw = Mapping[str, Any]
"""A key as Google shows it: without its text."""


class GoogleKeys:
    """The keys of one project. `patience`: how long an operation may take."""

    def __init__(self, api: AdminApi, project: str, patience: timedelta) -> None:
        self._api, self._patience = api, patience
        self._path = f"/projects/{project}/locations/global/keys"
        self._fingerprints: dict[tuple[str, str], str] = {}  # by name and birth: a key never gets another text

    async def all(self) -> Sequence[Raw]:
        """Every key that is not deleted. Asked for are those as well, so that nothing but their own word leaves them out."""

        async def page(token: str) -> TokenPage[Raw]:
            asked = {"pageSize": str(_PAGE), "showDeleted": "true", **({"pageToken": token} if token else {})}
            return await self._api.read(self._path, _page, params=asked)

        return [raw for raw in await by_token("Google", page) if "deleteTime" not in raw]

    async def one(self, id: str) -> Raw | None:
        """The key of this id, also a deleted one; None where there is none."""
        where = f"{self._path}/{segment(id)}"
        answer = await self._api.call("GET", where, passing=(404,))
        return self._api.parsed(answer, f"GET {where}", _shown) if answer.is_success else None

    async def text(self, id: str) -> KeyMaterial:
        """Google tells it again at any time."""
        return await self._api.read(f"{self._path}/{segment(id)}/keyString", lambda found: key_text(found.get("keyString")))

    async def fingerprint(self, raw: Raw) -> str:
        """Of the key's text, which is read once; "" where the key is gone by now."""
        which = (raw["name"], raw["createTime"])
        if which not in self._fingerprints:
            try:
                self._fingerprints[which] = (await self.text(key_ref(raw).id)).fingerprint()
            except NotFoundError:
                return ""
        return self._fingerprints[which]

    async def create(self, id: str, body: Mapping[str, Any]) -> Raw:
        """The new key of this id, which nobody had before. LostAnswerError: it may come to be."""
        lost = LostAnswerError(f"the key {id} was asked for at Google, and is not there yet")
        try:
            await self._run("POST", self._path, creating=True, params={"keyId": id}, json=body)
        except LostAnswerError as error:  # also 409: an earlier sending of this very request was done
            lost = error
        try:
            found = await self.one(id)
        except RetryableError:
            found = None
        if found is None:
            raise lost
        return found

    async def delete(self, id: str, refuse_used: bool) -> None:
        """OperationError: refused."""
        usage = {"checkExistingUsage": "CHECK" if refuse_used else "SKIP"}
        await self._run("DELETE", f"{self._path}/{segment(id)}", params=usage)

    async def undelete(self, id: str) -> None:
        await self._run("POST", f"{self._path}/{segment(id)}:undelete", json={})

    async def _run(self, method: str, path: str, creating: bool = False, **sent: Any) -> None:
        """A call that is answered with an operation, to that one's end."""
        where = f"{method} {path}"
        answer = await self._api.call(method, path, creating=creating, passing=(400,), **sent)
        if answer.status == 400:
            if inside(answer.document, "error", "status") == "FAILED_PRECONDITION":
                raise OperationError(FAILED_PRECONDITION)
            raise self._api.refusal(answer, where, creating)
        unknown = (LostAnswerError if creating else UnavailableError)(f"how {where} ended at Google is not known")
        try:
            await until_done(self._api, answer.document, self._patience)
        except UnreadableError:
            raise unknown from None
        except KeyturnError:
            if creating:  # it was taken on, whatever came of asking after it
                raise unknown from None
            raise
        except OperationError as error:
            if error.refuses or not creating:
                raise
            raise unknown from None


def key_ref(raw: Raw, fingerprint: str = "") -> KeyRef:
    """Its id is the last part of its name, whose project may be told as a number."""
    _, _, id = text(raw.get("name")).rpartition("/keys/")
    return KeyRef(id=plain_id(id), name=display_name(raw), created_at=iso(raw.get("createTime")), fingerprint=fingerprint)


def display_name(raw: Raw) -> str:
    return name_of(raw.get("displayName"))


def namesake(keys: Sequence[Raw], label: str, at_first: str | None) -> Raw | None:
    """The newest key of the same credential as `label`, by their names; or else the key of the id `at_first`."""
    family = label.rpartition("-")[0]
    older = [raw for raw in keys if family and display_name(raw).rpartition("-")[0] == family]
    older = older or [raw for raw in keys if key_ref(raw).id == at_first]
    return max(older, key=lambda raw: iso(raw["createTime"]), default=None)


def _shown(document: Mapping[str, Any]) -> Raw:
    key_ref(document)  # UnreadableError for what is no key
    return document


def _page(document: Mapping[str, Any]) -> TokenPage[Raw]:
    """Google leaves out what is empty: a list of none is `{}`."""
    following = document.get("nextPageToken")
    found = [_shown(raw) for raw in items(document.get("keys", []))]
    return found, text(following) if following else ""


def reason(document: Mapping[str, Any]) -> str:
    """Google's own word for an error: a google.rpc.ErrorInfo among its details, or else its status."""
    details = inside(document, "error", "details")
    for each in details if isinstance(details, list) else []:
        if isinstance(found := inside(each, "reason"), str):
            return found
    status = inside(document, "error", "status")
    return status if isinstance(status, str) else ""
