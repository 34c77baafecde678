"""What may stand in keyturn.yaml under `incidents`: who may report a leak, how, and where that is listened for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator, model_validator

from keyturn.durations import Duration
from keyturn.references import (
    STORE_REFERENCE,
    AbsolutePath,
    Address,
    SecretReference,
    parse_store_reference,
)
from keyturn.settings import Section

_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_PATH = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"

SIGNED = ("github", "gitguardian")  # kinds of scanners that sign what they send


class TlsSettings(Section):
    """The service's own certificate. `clients`: only callers with a certificate of this authority are talked to."""

    certificate: AbsolutePath
    key: AbsolutePath
    clients: AbsolutePath | None = None


class CallerSettings(Section):
    """Who may report a leak in keyturn's own form, and ask how far it is: by a bearer token, or by signing each request."""

    token: SecretReference | None = None
    hmac: SecretReference | None = None

    @model_validator(mode="after")
    def _one_way(self) -> CallerSettings:
        if (self.token is None) == (self.hmac is None):
            raise ValueError("needs token or hmac, and not both")
        return self


class SourceSettings(Section):
    """A scanner that reports in its own form, at /incidents/NAME.

    `secret`: what it signs with (github, gitguardian). `token`: what it says (the others). `types`: where a report holds no
    key, which credentials a type of secret stands for. `api_token`: ask GitHub for the alert, which holds the key.
    `findings` and `key`: where in a generic report the findings are, and in each of them the key.
    """

    kind: Literal["github", "gitguardian", "trufflehog", "generic"]
    secret: SecretReference | None = None
    token: SecretReference | None = None
    types: dict[str, tuple[str, ...]] = {}
    api_token: SecretReference | None = None
    api_url: Address = "https://api.github.com"
    hashes: bool = False
    findings: str = Field(default="", pattern=rf"^$|{_PATH}")
    key: str = Field(default="secret", pattern=_PATH)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> SourceSettings:
        if self.kind in SIGNED and (self.secret is None or self.token is not None):
            raise ValueError(f"a {self.kind} source needs secret, which it signs with, and no token")
        if self.kind not in SIGNED and (self.token is None or self.secret is not None):
            raise ValueError(f"a {self.kind} source needs token, and no secret: it signs nothing")
        of_others = {"types": SIGNED, "api_token": ("github",), "api_url": ("github",), "hashes": ("gitguardian",)}
        of_others |= {"findings": ("generic",), "key": ("generic",)}
        for name, kinds in of_others.items():
            if name in self.model_fields_set and self.kind not in kinds:
                raise ValueError(f"{name} is not for a {self.kind} source")
        return self


class IncidentSettings(Section):
    """The service that `keyturn incidents serve` runs.

    `largest`: bytes of a report. `rate`: reports and questions a minute, of each caller or source; `rate_all`: of all
    together. `replay_window`: how old a signed request may be. `repeat_window`: who names a credential again within this
    time after its run has ended is given that run. `answer_within`: the stores have so long to tell whose a key is.
    """

    listen: str = "127.0.0.1:8700"
    behind_tls: bool = False
    tls: TlsSettings | None = None
    callers: dict[str, CallerSettings] = {}
    sources: dict[str, SourceSettings] = {}
    largest: int = Field(default=1048576, ge=1024, le=16777216)
    rate: int = Field(default=60, ge=1, le=6000)
    rate_all: int = Field(default=240, ge=1, le=60000)
    replay_window: Duration = timedelta(minutes=5)
    repeat_window: Duration = timedelta(minutes=10)
    answer_within: Duration = timedelta(seconds=8)

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        found = _LISTEN.fullmatch(value)
        if found is None or not 1 <= int(found[2]) <= 65535:
            raise ValueError("must be HOST:PORT")
        return value

    @model_validator(mode="after")
    def _is_guarded(self) -> IncidentSettings:
        if not self.callers and not self.sources:
            raise ValueError("needs callers or sources: nobody could report anything")
        if not self.is_loopback and self.tls is None and not self.behind_tls:
            raise ValueError(
                "listen is an address that others reach: give tls, or behind_tls: true where a proxy in front speaks TLS"
            )
        if not timedelta(seconds=10) <= self.replay_window <= timedelta(hours=1):
            raise ValueError("replay_window must be between 10s and 1h")
        if not timedelta(seconds=1) <= self.answer_within <= timedelta(minutes=1):
            raise ValueError("answer_within must be between 1s and 1m")
        return self

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def faults_of_incidents(
    settings: IncidentSettings, credentials: Collection[str], stores: Collection[str]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What does not fit the rest of the file: names that are no part of an address, and what leads nowhere."""
    for section, named in (("callers", settings.callers), ("sources", settings.sources)):
        for name in named:
            if not _NAME.fullmatch(name):
                yield (section, name), "names are 1 to 40 of a-z, 0-9 and -, starting with a letter or digit"
    references = [(("callers", name, "token"), each.token) for name, each in settings.callers.items()]
    references += [(("callers", name, "hmac"), each.hmac) for name, each in settings.callers.items()]
    for name, source in settings.sources.items():
        references += [(("sources", name, way), getattr(source, way)) for way in ("token", "secret", "api_token")]
        for kind, names in source.types.items():
            for index, credential in enumerate(names):
                if credential not in credentials:
                    yield ("sources", name, "types", kind, index), "names nothing in credentials"
    for loc, reference in references:
        if reference and STORE_REFERENCE.fullmatch(reference) and parse_store_reference(reference).store not in stores:
            yield loc, "names nothing in stores"
