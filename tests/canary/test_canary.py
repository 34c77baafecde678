"""The canary against a LiteLLM that lies in every way the real one can."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from keyturn.canary import LiteLLMCanary
from keyturn.canary.calls import Deployment, choose
from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError, UnavailableError
from keyturn.key_parts import AWS_ACCESS_KEY, stranger
from keyturn.material import KeyMaterial
from keyturn.model import Finding, Judgement, Member, Verdict
from tests.canary.fake_litellm import FakeLiteLLM, always, new_key
from tests.wire import Wire

Make = Callable[..., LiteLLMCanary]
DAY = timedelta(days=1)  # what hangs in these tests hangs for ever: no test waits for this


@pytest.fixture
def proxy() -> FakeLiteLLM:
    return FakeLiteLLM()


@pytest.fixture
async def make(proxy: FakeLiteLLM) -> AsyncIterator[Make]:
    """Builds canaries on the fake; the provider's own check says what `direct` gives."""
    made: list[LiteLLMCanary] = []

    def build(direct: Verdict = Verdict.ACCEPTED, names: tuple[str, ...] = ("one",), **changed: Any) -> LiteLLMCanary:
        async def master_key() -> KeyMaterial:
            return proxy.master_key

        async def check(material: KeyMaterial) -> Judgement:
            return Judgement(direct, f"directly {direct.value}")

        settings: dict[str, Any] = {
            "members": always(*(proxy.member(name) for name in names)),
            "master_key": master_key,
            "model": "gpt",
            "deployment": None,
            "check": check,
            "timeout": DAY,
            "transport": proxy.transport,
        }
        made.append(LiteLLMCanary(**{**settings, **changed}))
        return made[-1]

    yield build
    for canary in made:
        await canary.aclose()


@pytest.fixture
def good(proxy: FakeLiteLLM) -> KeyMaterial:
    """A candidate that the provider accepts."""
    material = new_key()
    proxy.live.add(material.fingerprint())
    return material


# --- a candidate


async def test_a_live_candidate_is_accepted(make: Make, good: KeyMaterial) -> None:
    assert (await make().candidate(good)).verdict is Verdict.ACCEPTED


async def test_a_dead_candidate_is_rejected(make: Make) -> None:
    assert (await make(Verdict.REJECTED).candidate(new_key())).verdict is Verdict.REJECTED


async def test_a_key_that_only_the_route_refuses_is_not_rejected(make: Make) -> None:
    found = await make(Verdict.ACCEPTED).candidate(new_key())
    assert found.verdict is Verdict.INDETERMINATE
    assert "api_base" in found.reason


async def test_without_a_check_of_the_providers_litellm_decides_alone(
    proxy: FakeLiteLLM, make: Make, good: KeyMaterial
) -> None:
    canary = make(check=None)
    assert (await canary.candidate(good)).verdict is Verdict.ACCEPTED
    assert (await canary.candidate(new_key())).verdict is Verdict.REJECTED
    proxy.mock = True
    assert (await canary.candidate(good)).verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize("old", [True, False])
async def test_without_a_check_and_without_litellm_nothing_is_known(
    proxy: FakeLiteLLM, make: Make, good: KeyMaterial, old: bool
) -> None:
    if old:
        proxy.version = "1.102.9"
    else:
        proxy.bans_body_key = True
    found = await make(check=None).candidate(good)
    assert found.verdict is Verdict.INDETERMINATE
    assert "no check of its own" in found.reason


async def test_a_candidate_of_two_parts_is_sent_as_its_parts_after_a_garbage_pair(proxy: FakeLiteLLM, make: Make) -> None:
    pair = stranger(AWS_ACCESS_KEY)
    proxy.live.add(pair.fingerprint())
    assert (await make(parts=AWS_ACCESS_KEY).candidate(pair)).verdict is Verdict.ACCEPTED
    garbage, tried = proxy.seen
    assert (garbage.key == pair.fingerprint(), tried.key) == (False, pair.fingerprint())
    for call in proxy.seen:
        assert call.body["api_key"] is None, "it alone keeps a failure from being the deployment's that serves users"
        assert {name for name in call.body if name.startswith("aws_")} == {"aws_access_key_id", "aws_secret_access_key"}
    dead = await make(Verdict.REJECTED, parts=AWS_ACCESS_KEY).candidate(stranger(AWS_ACCESS_KEY))
    assert dead.verdict is Verdict.REJECTED


async def test_a_candidate_that_cannot_be_taken_apart_is_shown_to_nobody(proxy: FakeLiteLLM, make: Make) -> None:
    async def nobody(material: KeyMaterial) -> Judgement:
        raise AssertionError("it is asked")

    text = new_key()
    with pytest.raises(MisconfiguredError) as caught:
        await make(check=nobody, parts=AWS_ACCESS_KEY).candidate(text)
    assert proxy.seen == []
    assert text.reveal() not in f"{caught.value} {caught.value.__context__!r}"


async def test_a_garbage_key_goes_first_and_each_call_is_pinned_and_unlike_any_other(
    proxy: FakeLiteLLM, make: Make, good: KeyMaterial
) -> None:
    canary = make()
    await canary.candidate(good)
    await canary.candidate(good)
    assert [call.key == good.fingerprint() for call in proxy.seen] == [False, True, False, True]
    assert len({call.key for call in proxy.seen}) == 3
    assert len({call.body["messages"][0]["content"] for call in proxy.seen}) == 4
    for call in proxy.seen:
        assert call.body["model"] == "gpt-1"
        assert call.body["cache"] == {"no-cache": True, "no-store": True}
        assert call.body["num_retries"] == 0
        assert call.body["disable_fallbacks"] is True
        assert call.body["max_tokens"] == 16


@pytest.mark.parametrize("lie", ["mock", "cache_lies"])
@pytest.mark.parametrize("direct", [Verdict.ACCEPTED, Verdict.INDETERMINATE])
async def test_a_proxy_that_accepts_garbage_is_not_believed_nor_shown_the_candidate(
    proxy: FakeLiteLLM, make: Make, good: KeyMaterial, lie: str, direct: Verdict
) -> None:
    setattr(proxy, lie, True)
    found = await make(direct).candidate(good)
    assert found.verdict is Verdict.INDETERMINATE
    assert "garbage" in found.reason
    assert good.fingerprint() not in {call.key for call in proxy.seen}


async def test_without_the_control_a_mock_would_be_believed(proxy: FakeLiteLLM, make: Make) -> None:
    proxy.mock = True
    assert (await make(control=False).candidate(new_key())).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("trap", ["cache", "fallback", "retries"])
async def test_a_dead_candidate_is_rejected_in_spite_of(proxy: FakeLiteLLM, make: Make, trap: str) -> None:
    setattr(proxy, trap, True)
    assert (await make(Verdict.REJECTED).candidate(new_key())).verdict is Verdict.REJECTED
    assert proxy.other_provider_saw == []


async def test_the_groups_cooldown_is_passed_by(proxy: FakeLiteLLM, make: Make, good: KeyMaterial) -> None:
    proxy.cooled = {"gpt"}
    assert (await make().candidate(good)).verdict is Verdict.ACCEPTED


async def test_a_deployment_in_cooldown_decides_nothing(proxy: FakeLiteLLM, make: Make, good: KeyMaterial) -> None:
    proxy.cooled = {"gpt-1"}
    found = await make().candidate(good)
    assert found.verdict is Verdict.INDETERMINATE
    assert "cooldown" in found.reason


@pytest.mark.parametrize(
    "upstream",
    [
        (429, "litellm.RateLimitError: Rate limit"),
        (402, "litellm.APIError: Insufficient balance"),
        (403, "litellm.APIError: Country not supported"),
        (404, "litellm.NotFoundError: The model does not exist"),
        (500, "litellm.InternalServerError: oops"),
        (408, "litellm.Timeout: Request timed out"),
    ],
)
async def test_a_provider_in_trouble_decides_nothing(
    proxy: FakeLiteLLM, make: Make, good: KeyMaterial, upstream: tuple[int, str]
) -> None:
    proxy.upstream = upstream
    assert (await make().candidate(good)).verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize("version", ["1.102.0", "1.82.6", "0.999.9", None, "latest", "", 1103])
@pytest.mark.parametrize("direct", list(Verdict))
async def test_a_proxy_before_1_103_is_never_shown_a_key(
    proxy: FakeLiteLLM, make: Make, good: KeyMaterial, version: Any, direct: Verdict
) -> None:
    proxy.version = version
    found = await make(direct).candidate(good)
    assert found.verdict is direct
    assert "by the provider's own check alone" in found.reason
    assert proxy.seen == []


@pytest.mark.parametrize("version", ["1.103.0", "1.103.0.rc1", "1.109.1-nightly", "2.0.0"])
async def test_from_1_103_on_the_candidate_is_tried(proxy: FakeLiteLLM, make: Make, good: KeyMaterial, version: str) -> None:
    proxy.version = version
    await make().candidate(good)
    assert good.fingerprint() in {call.key for call in proxy.seen}


async def test_the_version_is_read_where_older_proxies_say_it(proxy: FakeLiteLLM, make: Make, good: KeyMaterial) -> None:
    proxy.old_readiness, proxy.version = True, "1.71.2"
    assert "1.71.2" in (await make().candidate(good)).reason


@pytest.mark.parametrize("direct", list(Verdict))
@pytest.mark.parametrize("control", [True, False])
async def test_a_proxy_that_bans_the_body_key_leaves_the_direct_check(
    proxy: FakeLiteLLM, make: Make, good: KeyMaterial, direct: Verdict, control: bool
) -> None:
    proxy.bans_body_key = True
    found = await make(direct, control=control).candidate(good)
    assert found.verdict is direct
    assert "takes no api_key" in found.reason


async def test_the_first_member_that_can_be_asked_is_asked(proxy: FakeLiteLLM, make: Make, good: KeyMaterial) -> None:
    proxy.down = {"one"}
    assert (await make(names=("one", "two", "three")).candidate(good)).verdict is Verdict.ACCEPTED
    assert {call.member for call in proxy.seen} == {"two"}


async def test_no_member_that_can_be_asked_decides_nothing(proxy: FakeLiteLLM, make: Make, good: KeyMaterial) -> None:
    proxy.down = {"one", "two"}
    found = await make(names=("one", "two")).candidate(good)
    assert found.verdict is Verdict.INDETERMINATE
    assert "one at http://one" in found.reason
    assert "two at http://two" in found.reason


async def test_a_member_that_hangs_decides_nothing(proxy: FakeLiteLLM, make: Make, good: KeyMaterial) -> None:
    proxy.hanging = {"one"}
    canary = make(timeout=timedelta(milliseconds=50))
    for found in (await canary.candidate(good), await canary.member(proxy.member())):
        assert found.verdict is Verdict.INDETERMINATE
        assert "did not answer within" in found.reason


async def test_a_fleet_without_members_is_a_misconfiguration(make: Make, good: KeyMaterial) -> None:
    with pytest.raises(MisconfiguredError):
        await make(names=()).candidate(good)


# --- the key that a member has loaded


async def test_the_loaded_key_is_accepted(proxy: FakeLiteLLM, make: Make) -> None:
    assert (await make().member(proxy.member())).verdict is Verdict.ACCEPTED
    assert [call.key for call in proxy.seen] == [None]


@pytest.mark.parametrize("trap", [None, "cache", "fallback", "retries"])
async def test_a_dead_loaded_key_is_rejected_in_spite_of(proxy: FakeLiteLLM, make: Make, trap: str | None) -> None:
    proxy.live.clear()
    if trap:
        setattr(proxy, trap, True)
    assert (await make().member(proxy.member())).verdict is Verdict.REJECTED


@pytest.mark.parametrize(("lie", "value"), [("answers_as", "gpt-2"), ("cache_lies", True)])
async def test_a_member_whose_answer_came_from_elsewhere_is_not_believed(
    proxy: FakeLiteLLM, make: Make, lie: str, value: Any
) -> None:
    setattr(proxy, lie, value)
    assert (await make().member(proxy.member())).verdict is Verdict.INDETERMINATE


async def test_a_member_that_is_down_decides_nothing(proxy: FakeLiteLLM, make: Make) -> None:
    proxy.down = {"one"}
    assert (await make().member(proxy.member())).verdict is Verdict.INDETERMINATE


async def test_an_id_that_changed_with_the_key_is_looked_up_again(proxy: FakeLiteLLM, make: Make) -> None:
    canary = make()
    for identity in ("0f" * 32, "1e" * 32):
        proxy.models = [("gpt", identity)]
        assert (await canary.member(proxy.member())).verdict is Verdict.ACCEPTED


# --- our own key, and the model


@pytest.mark.parametrize("with_database", [True, False])
async def test_our_master_key_refused_is_no_verdict(
    proxy: FakeLiteLLM, make: Make, good: KeyMaterial, with_database: bool
) -> None:
    proxy.with_database = with_database

    async def stale() -> KeyMaterial:
        return new_key()

    canary = make(master_key=stale)
    with pytest.raises(DeniedError, match="master key"):
        await canary.candidate(good)
    with pytest.raises(DeniedError, match="master key"):
        await canary.member(proxy.member())


async def test_a_master_key_refused_between_two_calls_is_no_verdict(proxy: FakeLiteLLM, make: Make) -> None:
    def turn(path: str) -> httpx.Response | None:
        if path == "/v1/chat/completions":
            return httpx.Response(401, json={"error": {"message": "Authentication Error, Invalid proxy server token"}})
        return None

    proxy.raw = turn
    with pytest.raises(DeniedError):
        await make().member(proxy.member())


async def test_a_model_that_is_not_there_names_those_that_are(make: Make, good: KeyMaterial) -> None:
    with pytest.raises(MisconfiguredError, match="gpt-5 is not known to the proxy; it has: gpt, other"):
        await make(model="gpt-5").candidate(good)


async def test_several_deployments_must_be_chosen_from(proxy: FakeLiteLLM, make: Make, good: KeyMaterial) -> None:
    proxy.models = [("gpt", "gpt-1"), ("gpt", "gpt-2")]
    with pytest.raises(MisconfiguredError, match=r"gpt-1, gpt-2.*canary\.deployment"):
        await make().candidate(good)
    assert (await make(deployment="gpt-2").member(proxy.member())).verdict is Verdict.ACCEPTED
    assert proxy.seen[-1].body["model"] == "gpt-2"
    with pytest.raises(MisconfiguredError, match=r"gpt-3 is not in model gpt; it has: gpt-1, gpt-2"):
        await make(deployment="gpt-3").candidate(good)


def test_a_deployment_is_also_found_by_its_id() -> None:
    there = [Deployment("gpt", "gpt-1"), Deployment("gpt", "gpt-2"), Deployment("gpt-2", "third")]
    assert choose(there, "gpt-1", None) == "gpt-1"
    assert choose([*there, there[0]], "gpt-1", None) == "gpt-1"
    with pytest.raises(MisconfiguredError, match="gpt-2, third"):
        choose(there, "gpt-2", None)
    with pytest.raises(MisconfiguredError, match="no id"):
        choose([Deployment("gpt", "")], "gpt", None)
    with pytest.raises(MisconfiguredError, match="and 30 more"):
        choose([Deployment(f"m{n:03}", "x") for n in range(50)], "gpt", None)
    with pytest.raises(MisconfiguredError, match="it has: none"):
        choose([], "gpt", None)


async def test_a_name_that_looks_like_a_key_is_not_told(proxy: FakeLiteLLM, make: Make, good: KeyMaterial) -> None:
    key = new_key()
    proxy.models = [(key.reveal(), key.reveal()), ("x\x1b[31m", "y"), ("\u00e9t\u00e9", "z")]
    with pytest.raises(MisconfiguredError, match=r"it has: \?t\? ") as raised:
        await make().candidate(good)
    assert key.reveal()[-8:] not in str(raised.value)


async def test_a_cookie_that_is_not_ascii_does_not_fail_the_calls_after_it(make: Make) -> None:
    """httpx keeps it, and cannot send it: every later call of that member failed with an error that is not ours."""
    cookie = "set-cookie: a=\u00e9\u00ff; path=/".encode("latin-1")
    with Wire(lambda _: b"HTTP/1.1 503 Words\r\n" + cookie + b"\r\n\r\n") as wire:
        canary = make(members=always(Member("one", wire.url)), transport=None)
        for _ in range(2):
            assert (await canary.member(Member("one", wire.url))).verdict is Verdict.INDETERMINATE


# --- what is no LiteLLM at all


HOSTILE = [
    httpx.Response(200, html="<html>login</html>"),
    httpx.Response(200, content=b'{"data": [{"model_na'),
    httpx.Response(200, json={"data": {"gpt": 1}}),
    httpx.Response(200, json=["gpt"]),
    httpx.Response(302, headers={"location": "http://elsewhere/"}),
    httpx.Response(404, text="default backend"),
    httpx.Response(500, text="Internal Server Error"),
    httpx.Response(502, html="<html>bad gateway</html>"),
]


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda answer: f"{answer.status_code}-{len(answer.content)}")
async def test_a_model_list_that_is_none_decides_nothing(
    proxy: FakeLiteLLM, make: Make, good: KeyMaterial, answer: httpx.Response
) -> None:
    proxy.raw = lambda path: answer if path == "/model/info" else None
    assert (await make().candidate(good)).verdict is Verdict.INDETERMINATE
    assert (await make().member(proxy.member())).verdict is Verdict.INDETERMINATE
    assert proxy.seen == []


async def test_entries_of_a_wrong_type_are_passed_over(proxy: FakeLiteLLM, make: Make) -> None:
    entries: list[Any] = [None, 7, {"model_name": 7}, {"model_name": "gpt", "model_info": []}, {"model_name": ["gpt"]}]
    entries += [{"model_name": "a", "model_info": {"id": "gpt"}}]
    proxy.raw = lambda path: httpx.Response(200, json={"data": entries}) if path == "/model/info" else None
    with pytest.raises(MisconfiguredError):
        await make().member(proxy.member())  # two remain, one without an id


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_an_endless_answer_is_cut(proxy: FakeLiteLLM, make: Make, good: KeyMaterial, status: int) -> None:
    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b'{"choices": [1], "error": {"message": "litellm.AuthenticationError: ' + b"x" * 1024

    def endless(path: str) -> httpx.Response | None:
        return httpx.Response(status, stream=Endless()) if path.startswith("/v1/") else None

    proxy.raw = endless
    assert (await make().candidate(good)).verdict is Verdict.INDETERMINATE


# --- preflight


def _by_name(findings: Any) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


async def test_preflight_finds_a_good_fleet_good(make: Make) -> None:
    findings = await make(names=("one", "two")).preflight()
    assert len(findings) == 10
    assert all(finding.ok for finding in findings)


async def test_preflight_names_a_member_that_is_down_and_asks_the_others(proxy: FakeLiteLLM, make: Make) -> None:
    proxy.down = {"one"}
    findings = _by_name(await make(names=("one", "two")).preflight())
    assert findings["one: reachable"].ok is False
    assert "start one" in findings["one: reachable"].remedy
    assert findings["two: key in service"].ok is True


async def test_preflight_stops_at_a_member_that_is_not_ready(proxy: FakeLiteLLM, make: Make) -> None:
    proxy.raw = lambda path: httpx.Response(503) if path == "/health/readiness" else None
    (finding,) = await make().preflight()
    assert (finding.what, finding.ok) == ("one: reachable", False)


async def test_preflight_stops_at_a_master_key_that_is_refused(make: Make) -> None:
    async def stale() -> KeyMaterial:
        return new_key()

    findings = _by_name(await make(master_key=stale).preflight())
    assert findings["one: master key"].ok is False
    assert findings["one: master key"].remedy


async def test_preflight_stops_at_a_model_that_the_proxy_does_not_know(make: Make) -> None:
    findings = _by_name(await make(model="gpt-5").preflight())
    assert findings["one: canary model"].ok is False
    assert "gpt, other" in findings["one: canary model"].detail
    assert findings["one: canary model"].remedy


async def test_preflight_stops_at_a_model_that_the_provider_does_not_know(proxy: FakeLiteLLM, make: Make) -> None:
    proxy.upstream = (404, "litellm.NotFoundError: The model `x` does not exist")
    finding = _by_name(await make().preflight())["one: key in service"]
    assert finding.ok is False
    assert "model that exists" in finding.remedy


async def test_preflight_does_not_stop_at_a_dead_key_in_service(proxy: FakeLiteLLM, make: Make) -> None:
    proxy.live.clear()
    finding = _by_name(await make().preflight())["one: key in service"]
    assert finding.ok is None
    assert "does not answer: the provider refuses the key" in finding.detail


async def test_preflight_stops_at_a_proxy_that_accepts_garbage(proxy: FakeLiteLLM, make: Make) -> None:
    proxy.mock = True
    assert _by_name(await make().preflight())["one: a garbage key is refused"].ok is False
    assert all(finding.ok for finding in await make(control=False).preflight())


async def test_preflight_says_what_an_old_proxy_cannot_do_and_shows_it_no_key(proxy: FakeLiteLLM, make: Make) -> None:
    proxy.version = "1.102.0"
    finding = _by_name(await make().preflight())["one: a candidate can be tried through it"]
    assert finding.ok is None
    assert "1.102.0" in finding.detail
    assert [call.key for call in proxy.seen] == [None]


async def test_preflight_says_where_the_body_key_is_banned(proxy: FakeLiteLLM, make: Make) -> None:
    proxy.bans_body_key = True
    finding = _by_name(await make().preflight())["one: a garbage key is refused"]
    assert finding.ok is None
    assert "takes no api_key" in finding.detail


async def test_preflight_of_an_empty_fleet_fails(make: Make) -> None:
    assert [finding.ok for finding in await make(names=()).preflight()] == [False]


# --- nothing leaks


async def test_no_error_and_no_reason_holds_a_key(
    proxy: FakeLiteLLM, make: Make, good: KeyMaterial, caplog: pytest.LogCaptureFixture
) -> None:
    odd = KeyMaterial(proxy.master_key.reveal() + "é")  # httpx cannot write this as text

    async def master_key() -> KeyMaterial:
        return odd

    said: list[str] = []
    caplog.set_level("INFO")

    async def note(canary: LiteLLMCanary) -> None:
        for call in (canary.candidate(good), canary.member(proxy.member()), canary.preflight()):
            try:
                said.append(repr(await call))
            except KeyturnError as error:
                said.append("".join(traceback.format_exception(error)))
                while error is not None:  # what a pickled error would carry along
                    said.append(repr((error, getattr(error, "request", None), vars(error))))
                    assert not isinstance(error, httpx.HTTPError | UnicodeError)
                    error = error.__context__ or error.__cause__  # type: ignore[assignment]

    await note(make())
    await note(make(master_key=master_key))
    for wrong in ("down", "hanging"):
        setattr(proxy, wrong, {"one"})
        await note(make(timeout=timedelta(milliseconds=50)))
        setattr(proxy, wrong, set())
    everything = "\n".join([*said, caplog.text])
    for key in (good, proxy.master_key, odd, proxy.loaded):
        assert key.reveal() not in everything


async def test_a_transport_error_is_no_context_of_ours(proxy: FakeLiteLLM, make: Make) -> None:
    proxy.down = {"one"}
    with pytest.raises(UnavailableError) as caught:
        await make()._calls.ready(proxy.member())
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
