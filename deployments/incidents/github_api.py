"""GitHub's API, asked for the secret of an alert: its webhook does not hold it."""

from __future__ import annotations

import httpx

from deployments.incidents.desk import Ask
from keyturn.errors import UnavailableError
from keyturn.http_answers import no_cookies, read_body
from keyturn.incident_settings import SourceSettings
from keyturn.incidents import github
from keyturn.incidents.leak import Lookup
from keyturn.incidents.signatures import bearer
from keyturn.json_object import UnreadableError
from keyturn.material import KeyMaterial
from keyturn.references import Resolver

_LARGEST = 262144  # bytes
_SECONDS = 5.0


def asking_github(resolve: Resolver) -> Ask:
    """Asks at the configured address alone, whatever addresses the webhook names. No redirect is followed."""

    async def ask(source: SourceSettings, lookup: Lookup) -> KeyMaterial | None:
        token = await resolve(source.api_token or "")
        headers = {"Authorization": bearer(token), "Accept": "application/vnd.github+json"}
        try:
            async with (
                httpx.AsyncClient(timeout=_SECONDS, cookies=no_cookies()) as client,
                client.stream("GET", f"{source.api_url}{lookup.path}", headers=headers) as answer,
            ):
                status, body = answer.status_code, await read_body(answer, _LARGEST, _SECONDS)
        except httpx.HTTPError as error:
            raise UnavailableError(f"GitHub's API does not answer ({type(error).__name__})") from None
        if status != 200:
            raise UnavailableError(
                f"GitHub's API does not tell of an alert (HTTP {status})",
                remedy="give api_token the permission to read secret scanning alerts",
            )
        try:
            return github.secret_in(body)
        except UnreadableError:
            raise UnavailableError("GitHub's API gave an answer of another form") from None

    return ask
