"""HTTP of the plainest form, over one connection: what is answered with 200, as a whole, in time, and not in between."""

from __future__ import annotations

import http.client
import os
from collections.abc import Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from keyturn.delivery.lean.declined import Declined
from keyturn.delivery.lean.plain import split_address
from keyturn.json_object import json_object

_LARGEST = 1024 * 1024  # bytes of an answer
_SECONDS = 3.0  # for each read and write; `keyturn.delivery.lean.start` limits the whole
# By these the vendors' SDKs go another way, or trust another authority.
_DETOURS = ("http_proxy", "https_proxy", "all_proxy", "requests_ca_bundle", "curl_ca_bundle", "sslkeylogfile")


class Wire:
    """A context manager: a connection to an address. Certificates are checked as the SDKs of the full path do it."""

    def __init__(self, address: str, ca_file: str | None = None) -> None:
        if any(name.lower() in _DETOURS for name in os.environ):
            raise Declined
        scheme, host, port, self._path = split_address(address)
        self.host = host.lower() if not port or port == (443 if scheme == "https" else 80) else f"{host.lower()}:{port}"
        self._connection: http.client.HTTPConnection
        if scheme == "https":
            context = _trusting(ca_file)
            self._connection = http.client.HTTPSConnection(host, port or 443, timeout=_SECONDS, context=context)
        else:
            self._connection = http.client.HTTPConnection(host, port or 80, timeout=_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> dict[str, Any]:
        """The JSON object that is answered; an empty one where it is none. Declined for a status other than 200."""
        self._connection.request(method, self._path + path, body, dict(headers))
        answer = self._connection.getresponse()
        content = answer.read(_LARGEST + 1)
        if answer.status != 200 or len(content) > _LARGEST or answer.length or answer.headers.get("Content-Encoding"):
            raise Declined
        return json_object(content)


def _trusting(ca_file: str | None) -> Any:
    import ssl

    context = ssl.create_default_context(cafile=ca_file or _authorities())
    context.hostname_checks_common_name = False  # as urllib3 has it
    return context


def _authorities() -> str:
    """The bundle of certifi, which requests and botocore trust. Found without importing it."""
    found = find_spec("certifi")
    file = os.path.join(os.path.dirname(found.origin or ""), "cacert.pem") if found else ""  # noqa: PTH118, PTH120
    if not os.path.isfile(file):  # noqa: PTH113
        raise Declined
    return file
