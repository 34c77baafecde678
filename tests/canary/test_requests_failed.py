"""What a proxy tells of its users' requests is read as Prometheus means it, and is not zero where it is not told."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from keyturn.canary.requests_failed import FAILED, TOTAL, RequestsFailed
from keyturn.errors import KeyturnError, MisconfiguredError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.model import Member
from keyturn.traffic import Counted

MASTER = KeyMaterial("sk-" + secrets.token_hex(16))
MEMBER = Member("one", "http://one")
PAGE = f"""\
# HELP {TOTAL}_total Total number of requests
# TYPE {TOTAL}_total counter
{TOTAL}_total{{requested_model="gpt",status_code="200",user="a b"}} 90.0
{TOTAL}_total{{requested_model="gpt",status_code="401",user=""}} 10.0
{TOTAL}_total{{requested_model="claude",status_code="200",user=""}} 7.0
{TOTAL}_created{{requested_model="gpt",status_code="200",user=""}} 1.7e+09
# TYPE {FAILED}_total counter
{FAILED}_total{{requested_model="gpt",exception_status="401"}} 10.0
{FAILED}_total{{requested_model="claude",exception_status="500"}} 2.0
# TYPE litellm_proxy_total_requests_metric_by_others_total counter
litellm_proxy_total_requests_metric_by_others_total 1000.0
"""


async def counted(answer: Callable[[httpx.Request], httpx.Response], model: str | None = None) -> Counted:
    async def master() -> KeyMaterial:
        return MASTER

    traffic = RequestsFailed(master, "/metrics/", model, httpx.MockTransport(answer))
    try:
        return await traffic.counted(MEMBER)
    finally:
        await traffic.aclose()


def answers(status: int, text: str = "") -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, text=text)


async def test_the_samples_of_both_counters_are_summed() -> None:
    assert await counted(answers(200, PAGE)) == Counted(107, 12)


async def test_one_model_alone() -> None:
    assert await counted(answers(200, PAGE), "gpt") == Counted(100, 10)


async def test_a_proxy_without_a_request_yet_has_counted_none() -> None:
    assert await counted(answers(200, "# nothing\n")) == Counted(0, 0)


async def test_it_is_asked_with_the_master_key_at_the_path_with_the_slash() -> None:
    seen: list[httpx.Request] = []

    def keep(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text=PAGE)

    await counted(keep)
    assert str(seen[0].url) == "http://one/metrics/"
    assert seen[0].headers["Authorization"] == f"Bearer {MASTER.reveal()}"


@pytest.mark.parametrize("status", [307, 401, 404, 500])
async def test_another_status_is_no_count(status: int) -> None:
    with pytest.raises(MisconfiguredError, match=f"answers {status}"):
        await counted(answers(status, PAGE))


@pytest.mark.parametrize("text", ["<html>down</html>", f"{TOTAL}_total{{a", f"{TOTAL}_total many", "\0"])
async def test_what_is_no_page_of_prometheus_is_no_count(text: str) -> None:
    with pytest.raises(UnavailableError, match="no counters"):
        await counted(answers(200, text))


async def test_a_proxy_that_is_down_is_told_without_what_was_sent() -> None:
    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"no route for {MASTER.reveal()}", request=request)

    with pytest.raises(KeyturnError) as caught:
        await counted(down)
    assert MASTER.reveal() not in repr(caught.value) + repr(caught.value.__context__)


@pytest.mark.real
def test_litellm_has_these_counters_and_this_label() -> None:
    """Its environment has no client of Prometheus, so that its source has to do."""
    (source,) = Path(".proxy").glob("lib/python*/site-packages/litellm/integrations/prometheus.py")
    (types,) = Path(".proxy").glob("lib/python*/site-packages/litellm/types/integrations/prometheus.py")
    for name in (TOTAL, FAILED):
        assert f'name="{name}"' in source.read_text()
        labels = types.read_text().partition(f"    {name} = [")[2].partition("]")[0]
        assert "UserAPIKeyLabelNames.REQUESTED_MODEL.value" in labels
    assert 'REQUESTED_MODEL: Final = "requested_model"' in types.read_text()
