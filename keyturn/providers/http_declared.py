"""Any vendor whose key API makes, lists and deletes keys over HTTP, as keyturn.yaml declares its calls: no code.

What the vendor can and cannot do is what is declared. docs/provider-http.md has every setting, and what it cannot do.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from keyturn.errors import LostAnswerError, NotFoundError, UnavailableError
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.model import CreatedKey, KeyRef
from keyturn.providers.admin_api import AdminApi, Answer, Headers
from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source
from keyturn.providers.fields import hint_of, key_text, name_of
from keyturn.providers.http_fields import NotThereError, at, declared_id, scalar, time_reader
from keyturn.providers.http_pages import Pages
from keyturn.providers.http_settings import Call, Check, Create, HttpSettings, Listing, OnAKey
from keyturn.providers.http_templates import EXPIRY, Values, expiry, filled, filled_path
from keyturn.providers.json_paths import json_path
from keyturn.providers.logins import headers, plain_headers, with_header
from keyturn.providers.probe import Probe
from keyturn.providers.vendor import Vendor
from keyturn.providers.verdicts import Verdicts, dead, error_code, error_message

_ANY = "a declared vendor"
_NO_LIST = "keys cannot be listed: one whose create lost its answer lives until a person finds it"
_NO_NEXT = "the list is declared as a single page: if the vendor has more, keys are missed"


class HttpDeclared(Vendor):
    """`disable` and `enable` are there where they are declared."""

    FACTS: ClassVar[Facts] = Facts(
        vendor=_ANY,
        shape=Shape.CREATE_DELETE,
        variables=(),
        models="",
        login="what `login` refers to: it may create, list and delete keys",
        sources=(Source("keyturn.yaml", Known.RECALLED, "what whoever wrote it knows of the vendor"),),
        risks=("nothing but the declaration says what the vendor's answers mean",),
        permissions=tuple(
            Permission(verb, ("what the vendor asks for the declared call",), known=Known.RECALLED)
            for verb in (May.CREATE, May.LIST, May.DELETE)
        ),
    )
    VERDICTS: ClassVar[Verdicts] = Verdicts(_ANY, (dead(401, _ANY, known="configured"),), lambda _: False)
    CALLS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list": ("as declared, page by page", "as the vendor has it"),
        "create": ("as declared", "as the vendor has it"),
        "check": ("as declared, with the key under test, and once with a garbage key", "none"),
        "last_used": ("as list", "as the vendor has it"),
        "revoke": ("as declared, then the list", "as the vendor has it"),
    }
    Settings = HttpSettings

    disable: Callable[[KeyRef], Any]
    enable: Callable[[KeyRef], Any]

    def __init__(self, settings: Any, *wiring: Any) -> None:
        super().__init__(settings, *wiring)
        if settings.disable is not None:
            self.disable, self.enable = partial(self._do, settings.disable), partial(self._do, settings.enable)

    def _admin(self) -> AdminApi:
        s = self.settings
        secret = [(each.header, each.prefix or "", each.secret) for each in s.login]
        login = headers(secret, s.headers, self._resolve)
        told = ", ".join(each.secret for each in s.login)
        return AdminApi(s.name, s.base_url, login, s.timeout, f"put into {told} what may create, list and delete keys")

    def _facts(self) -> Facts:
        s = self.settings
        risks = [*self.FACTS.risks, *([_NO_LIST] if s.list is None else [_NO_NEXT] if s.list.next is None else [])]
        return replace(
            self.FACTS,
            vendor=s.name,
            lists=s.list is not None,
            disables=s.disable is not None,
            expiry="as declared" if EXPIRY & s.create.used else "",
            last_use="as the list tells it" if s.list is not None and s.list.last_used_at else "",
            most_keys=s.most_keys,
            risks=tuple(risks),
            permissions=tuple(self._permission(verb, call) for verb, call in self._declared()),
        )

    def _declared(self) -> Sequence[tuple[May, str]]:
        s = self.settings
        calls = ((May.CREATE, s.create), (May.DELETE, s.revoke), (May.DISABLE, s.disable))
        listed = [(May.LIST, f"GET {s.list.path}")] if s.list is not None else []
        return [*listed, *((verb, f"{call.method} {call.path}") for verb, call in calls if call is not None)]

    @staticmethod
    def _permission(verb: May, call: str) -> Permission:
        return Permission(verb, (f"what the vendor asks for {call}",), known=Known.RECALLED)

    def _calls(self) -> Mapping[str, tuple[str, str]]:
        s, who = self.settings, self.CALLS["create"][1]
        listed = f"GET {s.list.path}" if s.list else "no call"
        told = {
            "list": (listed + (", page by page" if s.list and s.list.next else ""), who),
            "create": (f"{s.create.method} {s.create.path}", who),
            "check": (f"{s.check.method} {s.check.path}{self.CALLS['check'][0][11:]}" if s.check else "no call", "none"),
            "last_used": (listed if self.facts.last_use else "no call", who),
            "revoke": (f"{s.revoke.method} {s.revoke.path}" + (f", then {listed}" if s.list else ""), who),
        }
        return told | ({"disable": (f"{s.disable.method} {s.disable.path}", who)} if s.disable else {})

    def _verdicts(self) -> Verdicts:
        check: Check | None = self.settings.check
        if check is None:
            return self.VERDICTS
        needs = json_path(check.needs)
        code = partial(scalar, json_path(check.code)) if check.code else error_code
        message = partial(scalar, json_path(check.message)) if check.message else error_message
        empty = Verdicts(self.settings.name, (), partial(_has, needs.value), code, message, check.accepted)
        return empty.refused_as(check.refused)

    def _probe(self, verdicts: Verdicts) -> Probe | None:
        s, check = self.settings, self.settings.check
        if check is None:
            return None
        api = self.api
        if check.base_url is not None:
            api = AdminApi(s.name, check.base_url, headers((), {}, self._resolve), s.timeout, "")

        def present(material: KeyMaterial) -> Headers:
            return {**plain_headers(s.headers), **with_header(check.header, material, check.prefix)}

        path = filled_path(check.path, self._owner)
        return Probe(api, check.method, path, present, verdicts, lambda: (check.key_prefix or "") + secrets.token_hex(24))

    @property
    def _owner(self) -> Values:
        return {} if self.settings.owner is None else {"owner": self.settings.owner}

    async def create(self, label: str, expires_in: timedelta | None = None) -> CreatedKey:
        """As the port says. What answers with a status that is not declared, or with no key, may have made one."""
        call: Create = self.settings.create
        values: Values = {"label": label, **self._owner, **expiry(self._now(), expires_in)}
        answer = await self._send(call, values, creating=True)
        if answer.status not in call.success:
            raise LostAnswerError(
                f"{self.settings.name} answered {answer.status} to create, which is not declared as success"
            )
        try:
            return self._created(call, label, answer.document)
        except NotThereError as error:
            told = f"{self.settings.name} answered create with nothing usable at {error.setting}"
        raise LostAnswerError(told, remedy="see whether its settings fit what the vendor answers")

    def _created(self, call: Create, label: str, document: Mapping[str, Any]) -> CreatedKey:
        material = at(document, "create.text", call.text, key_text)
        ends = at(document, "create.expires", call.expires, self._optional_time)
        id = at(document, "create.id", call.id, declared_id)
        return CreatedKey(KeyRef(id, label, owner=self.settings.owner or "", expires_at=ends), material)

    async def _keys(self) -> Sequence[KeyRef]:
        listing: Listing | None = self.settings.list
        if listing is None:
            return ()
        found: dict[str, KeyRef] = {}
        pages = Pages(listing.next, filled(listing.query, self._owner))
        path = filled_path(listing.path, self._owner)
        while not pages.done:
            answer = await self.api.call("GET", path, params=pages.query)
            try:
                here = [self._key(listing, each) for each in at(answer.document, "list.items", listing.items, list)]
                known = len(found)
                found.update({key.id: key for key in here})
                pages.turn(answer.document, len(here), len(found) - known)
            except NotThereError as error:
                told = f"{self.settings.name} answered list with nothing usable at {error.setting}"
            except OverflowError:
                told = f"{self.settings.name}'s list of keys does not come to an end, or does not move on"
            else:
                continue
            raise UnavailableError(
                told, remedy="check base_url, and whether the settings of list fit what the vendor answers"
            )
        return list(found.values())

    def _key(self, listing: Listing, data: Any) -> KeyRef:
        return KeyRef(
            id=at(data, "list.id", listing.id, declared_id),
            name=at(data, "list.name", listing.name, name_of),
            hint=at(data, "list.hint", listing.hint, hint_of) or "",
            owner=self.settings.owner or "",
            created_at=at(data, "list.created_at", listing.created_at, self._optional_time),
            last_used_at=at(data, "list.last_used_at", listing.last_used_at, self._optional_time),
            expires_at=at(data, "list.expires_at", listing.expires_at, self._optional_time),
        )

    def _optional_time(self, value: Any) -> datetime | None:
        return time_reader(self.settings.times)(value)

    async def _delete(self, key: KeyRef) -> bool:
        call, listed = self.settings.revoke, self.settings.list is not None
        # With a list, it has the last word. Without one, an answer that is not of the vendor's form is none.
        passing = {*call.already_gone, *(call.success if listed else ())}
        answer = await self._send(call, await self._values(call, key), passing=passing)
        if answer.status in call.already_gone:
            return False
        self._expected(call, answer, "revoke")
        return True

    async def _do(self, call: OnAKey, key: KeyRef) -> None:
        answer = await self._send(call, await self._values(call, key))
        self._expected(call, answer, "disable" if call is self.settings.disable else "enable")

    def _expected(self, call: Call, answer: Answer, verb: str) -> None:
        if answer.status not in call.success:
            raise UnavailableError(f"{self.settings.name} answered {answer.status} to {verb}, not declared as success")

    async def _values(self, call: OnAKey, key: KeyRef) -> Values:
        """A key's name may not be known any more: then the list tells it."""
        name = key.name
        if "name" in call.used and not name:
            name = next((other.name for other in await self._keys() if other.id == key.id), "")
            if not name:
                raise NotFoundError(f"{self.settings.name} does not tell the name of the key {key.id}, which the call needs")
        return {"id": key.id, "name": name, **self._owner}

    async def _send(self, call: Call, values: Values, *, creating: bool = False, passing: Collection[int] = ()) -> Answer:
        sent: dict[str, Any] = {"params": filled(call.query, values)} if call.query else {}
        if call.body is not None:
            sent["json"] = filled(call.body, values)
        path = filled_path(call.path, values)
        return await self.api.call(call.method, path, creating=creating, passing=passing, **sent)


def _has(read: Callable[[Any], Any], document: Mapping[str, Any]) -> bool:
    try:
        return read(document) is not None
    except UnreadableError:
        return False
