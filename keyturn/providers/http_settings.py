"""The settings of kind `http`: the calls of a vendor's key API, declared, and looked at in full when they are loaded.

No error shows what stands there. docs/provider-http.md tells of each setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from keyturn.json_object import has_half_a_character
from keyturn.key_shapes import is_opaque, literal_keys, shown
from keyturn.providers.http_templates import EXPIRY, OF_A_KEY, OF_CREATE, must_be_of, placeholders, placeholders_in
from keyturn.providers.json_paths import json_path
from keyturn.providers.vendor import VendorSettings
from keyturn.providers.verdicts import Verdicts
from keyturn.references import Address, SecretReference

_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@/{}-]{0,500}")
_CARRIES_A_SECRET = re.compile(r"auth|cookie|key|token|secret|passw|credential", re.IGNORECASE)
_OURS = frozenset({"host", "connection", "content-length", "transfer-encoding", "expect", "te", "upgrade"})
_SAYS_NOTHING = (401, 402, 403, 408, 429)  # of whether a key is there


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,60}", value) or value.lower() in _OURS or is_opaque(value):
        raise ValueError("must be the name of a header, and not of one that HTTP itself needs")
    return value


def _beginning(value: str) -> str:
    if not re.fullmatch(r"([A-Za-z][A-Za-z0-9 _.=:-]{0,29})?", value) or is_opaque(value):
        raise ValueError("must be a short text such as 'Bearer ': what is secret goes into a reference")
    return value


def _path(value: str) -> str:
    if not _PATH.fullmatch(value) or any(part in ("", ".", "..") for part in value[1:].removesuffix("/").split("/")):
        raise ValueError("must be a path below base_url, such as /keys/{id}: no ? or #, no empty part, no dots alone")
    if EXPIRY & set(placeholders(value)):
        raise ValueError("no placeholder for an expiry has a place in a path: there may be none")
    return value


def _one(value: str) -> str:
    json_path(value)
    return value


def _needed(value: str) -> str:
    if json_path(value).optional:
        raise ValueError("must not end with ?: it has to be there")
    return value


def _many(value: str) -> str:
    json_path(value, many=True)
    return value


def _json(value: Any) -> Any:
    placeholders_in(value)
    return value


def _in_a_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


HeaderName = Annotated[str, AfterValidator(_header_name)]
Beginning = Annotated[str, AfterValidator(_beginning)]
Path = Annotated[str, AfterValidator(_path)]
At = Annotated[str, AfterValidator(_one)]
AtNeeded = Annotated[str, AfterValidator(_needed)]
AtMany = Annotated[str, AfterValidator(_many)]
Query = Annotated[dict[str, str | bool | int], AfterValidator(_json)]
Body = Annotated[dict[str, Any], AfterValidator(_json)]
Success = Annotated[int, Field(ge=200, le=299)]


class Section(BaseModel):
    """A part of the declaration."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class LoginHeader(Section):
    """A header of every call, with a secret in it."""

    header: HeaderName
    secret: SecretReference
    prefix: Beginning | None = None


class Call(Section):
    """A call that changes something."""

    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: Path
    query: Query = {}
    body: Body | None = None
    success: tuple[Success, ...] = Field(default=(200, 201, 202, 204), min_length=1)

    @property
    def used(self) -> set[str]:
        """The placeholders in it."""
        return {*placeholders(self.path), *placeholders_in(self.query), *placeholders_in(self.body)}


class Create(Call):
    """`id`, `text`, `expires`: where the answer has them."""

    id: AtNeeded
    text: AtNeeded
    expires: At | None = None
    success: tuple[Success, ...] = Field(default=(200, 201), min_length=1)

    @model_validator(mode="after")
    def _of_a_create(self) -> Create:
        must_be_of(self.used, OF_CREATE)
        if "label" not in self.used:
            raise ValueError("{label} must stand in it: a create whose answer is lost is found by its name alone")
        return self


class OnAKey(Call):
    """A call that does something to one key."""

    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "PATCH"

    @model_validator(mode="after")
    def _of_one_key(self) -> OnAKey:
        must_be_of(self.used, OF_A_KEY)
        if "id" not in self.used:
            raise ValueError("{id} must stand in it: else it is not said which key is meant")
        return self


class Revoke(OnAKey):
    """`already_gone`: how it answers for a key that is not there. Believed only where the list says so too."""

    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "DELETE"
    already_gone: tuple[Annotated[int, Field(ge=400, le=499)], ...] = (404,)

    @field_validator("already_gone")
    @classmethod
    def _says_something(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if set(value) & set(_SAYS_NOTHING):
            raise ValueError(f"{', '.join(map(str, _SAYS_NOTHING))} do not say whether a key is there")
        return value


class NextPage(Section):
    """How the next page is asked for: by a cursor of the answer, by how many keys there were, or by the page's number."""

    query: str | None = Field(default=None, min_length=1, max_length=60)
    from_: At | None = Field(default=None, alias="from")
    offset: str | None = Field(default=None, min_length=1, max_length=60)
    page: str | None = Field(default=None, min_length=1, max_length=60)
    first: int = Field(default=1, ge=0, le=1)
    more: AtNeeded | None = None

    @model_validator(mode="after")
    def _one_way(self) -> NextPage:
        if sum(way is not None for way in (self.query, self.offset, self.page)) != 1:
            raise ValueError("needs one of: query (with from), offset, page")
        if (self.query is None) != (self.from_ is None):
            raise ValueError("query and from go together: the parameter, and where the answer has its value")
        if any(has_half_a_character(name) for name in (self.query, self.offset, self.page) if name):
            raise ValueError("must not hold half a character")
        if self.page is None and "first" in self.model_fields_set:
            raise ValueError("first is the number of the first page: it goes with page")
        return self


class Listing(Section):
    """How all keys are listed. `items`: where a page has its keys; all that follows it: where a key has it."""

    path: Path
    query: Query = {}
    items: AtMany
    id: AtNeeded
    name: At
    hint: At | None = None
    created_at: At | None = None
    last_used_at: At | None = None
    expires_at: At | None = None
    next: NextPage | None = None

    @model_validator(mode="after")
    def _of_all_keys(self) -> Listing:
        must_be_of({*placeholders(self.path), *placeholders_in(self.query)}, {"owner"})
        if self.next is not None and {self.next.query, self.next.offset, self.next.page} & set(self.query):
            raise ValueError("the parameter of the next page must not stand in query too")
        return self


class Check(Section):
    """A free call with the key under test. `needs`: what an answer that accepts a key has in it. `code`, `message`: where
    a refusal has them."""

    method: Literal["GET", "POST"] = "GET"
    path: Path
    base_url: Address | None = None
    header: HeaderName = "Authorization"
    prefix: Beginning = "Bearer "
    accepted: tuple[Success, ...] = Field(default=(200,), min_length=1)
    needs: AtNeeded
    refused: tuple[str, ...] = Field(min_length=1)
    code: At | None = None
    message: At | None = None
    key_prefix: Beginning | None = None

    @field_validator("refused")
    @classmethod
    def _not_reckless(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Verdicts("it", (), lambda _: False).refused_as(value)
        if not all(re.fullmatch(r"[0-9]{3}(:[ -~]{1,80})?", each) for each in value):
            raise ValueError("must be STATUS or STATUS:CODE, with a code of up to 80 plain characters")
        return value

    @field_validator("path")
    @classmethod
    def _of_no_key(cls, value: str) -> str:
        must_be_of(placeholders(value), {"owner"})
        return value


class HttpSettings(VendorSettings):
    """`vendor`: its name, for messages. `owner`: what `{owner}` stands for. `times`: what a time that is a number counts.
    `most_keys`: how many may live at a time."""

    base_url: Address
    vendor: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$")
    owner: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$")
    login: Annotated[tuple[LoginHeader, ...], BeforeValidator(_in_a_list)] = Field(min_length=1)
    headers: dict[HeaderName, Annotated[str, Field(pattern=r"^[!-~]([ -~]{0,200}[!-~])?$")]] = {}
    times: Literal["seconds", "milliseconds"] = "seconds"
    most_keys: int | None = Field(default=None, ge=2)
    create: Create
    list: Listing | None = None
    revoke: Revoke
    disable: OnAKey | None = None
    enable: OnAKey | None = None
    check: Check | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_literal_keys(cls, data: Any) -> Any:
        for where, text in _texts_of(data):
            if literal_keys(text):
                raise ValueError(
                    f"{where or 'a name'}: a key stands there. What is secret goes into login, as a reference: env:NAME, "
                    "file:PATH or store:NAME/PATH#FIELD. Take it out of the file, and rotate it"
                )
        return data

    @field_validator("headers")
    @classmethod
    def _not_secret(cls, value: dict[str, str]) -> dict[str, str]:
        if any(_CARRIES_A_SECRET.search(name) for name in value):
            raise ValueError("a header whose name sounds like a secret's goes into login, with a reference")
        return value

    @model_validator(mode="after")
    def _fits(self) -> HttpSettings:
        names = [each.header.lower() for each in self.login] + [name.lower() for name in self.headers]
        if len(set(names)) < len(names):
            raise ValueError("a header stands twice in login and headers")
        if self.check is not None and self.check.header.lower() in {name.lower() for name in self.headers}:
            raise ValueError("the header of check stands in headers too")
        if (self.disable is None) != (self.enable is None):
            raise ValueError("disable and enable go together: what cannot be undone is revoke")
        if self.list is None and "already_gone" in self.revoke.model_fields_set and self.revoke.already_gone:
            raise ValueError(
                "revoke.already_gone needs list: without one, nothing but that answer says that the key is gone"
            )
        if self.owner is None and "owner" in self._used():
            raise ValueError("{owner} is used, and the setting owner is missing")
        return self

    def _used(self) -> set[str]:
        calls = [call for call in (self.create, self.revoke, self.disable, self.enable) if call is not None]
        paths = [part.path for part in (self.list, self.check) if part is not None]
        of_list = placeholders_in(self.list.query) if self.list is not None else set()
        return set().union(*(call.used for call in calls), *map(placeholders, paths), of_list)

    @property
    def name(self) -> str:
        """The vendor's, for messages."""
        return self.vendor or urlsplit(self.base_url).hostname or "the vendor"


def _texts_of(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield where, str(name)
            yield from _texts_of(inner, f"{where}.{shown(str(name))}".lstrip("."))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts_of(inner, where)
