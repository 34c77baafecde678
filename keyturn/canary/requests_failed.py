"""How many of its users' requests a proxy has failed: from the counters that LiteLLM exposes for Prometheus.

Counters begin anew when a program does, and are told of one process: a proxy of several workers needs LiteLLM's own
multiprocess directory (PROMETHEUS_MULTIPROC_DIR) to tell of all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
from prometheus_client.parser import text_string_to_metric_families

from keyturn.errors import KeyturnError, MisconfiguredError, UnavailableError
from keyturn.http_answers import no_cookies, read_body
from keyturn.material import KeyMaterial
from keyturn.model import Member
from keyturn.traffic import Counted

_LARGEST = 16 * 1024 * 1024  # bytes: a series for each user, key and model
_SECONDS = 10.0
# Names and labels as in the source of LiteLLM 1.106.2 (integrations/prometheus.py, types/integrations/prometheus.py); the
# callback `prometheus` has to be on. A counter's sample ends in _total.
TOTAL = "litellm_proxy_total_requests_metric"
FAILED = "litellm_proxy_failed_requests_metric"
_MODEL = "requested_model"


class RequestsFailed:
    """Implements the port Traffic. Permission needed: none, or the master key where the proxies ask for one."""

    def __init__(
        self,
        master_key: Callable[[], Awaitable[KeyMaterial]],
        path: str,
        model: str | None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._master_key, self._path, self._model = master_key, path, model
        self._http = httpx.AsyncClient(timeout=_SECONDS, trust_env=False, cookies=no_cookies(), transport=transport)

    async def counted(self, member: Member) -> Counted:
        """Of all models, or of the one that was named. UnavailableError, MisconfiguredError: it does not tell."""
        token, status, text, failure = (await self._master_key()).reveal(), 0, "", ""
        try:
            async with self._http.stream(
                "GET", member.url + self._path, headers={"Authorization": f"Bearer {token}"}
            ) as answer:
                status = answer.status_code
                text = (await read_body(answer, _LARGEST, _SECONDS)).decode(errors="replace")
        except httpx.HTTPError as error:
            failure = type(error).__name__
        if failure:
            raise UnavailableError(f"{member.name} does not tell its counters ({failure})", remedy="is it up?")
        if status != 200:
            raise MisconfiguredError(
                f"{member.name} answers {status} when asked for its counters",
                remedy='put "prometheus" into litellm_settings.callbacks, or leave roll.errors out',
            )
        return _read(text, self._model, member)

    async def aclose(self) -> None:
        await self._http.aclose()


def _read(text: str, model: str | None, member: Member) -> Counted:
    sums = {TOTAL: 0.0, FAILED: 0.0}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removesuffix("_total")
                if name in sums and (model is None or sample.labels.get(_MODEL) == model):
                    sums[name] += sample.value
    except (ValueError, KeyError, IndexError):
        broken: KeyturnError = UnavailableError(
            f"what {member.name} answers are no counters of Prometheus", remedy="is roll.errors.path right?"
        )
    else:
        return Counted(sums[TOTAL], sums[FAILED])
    raise broken
