"""The OpenAI adapter against the simulator on loopback."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from keyturn.errors import (
    DeniedError,
    KeyturnError,
    LostAnswerError,
    MisconfiguredError,
    NotFoundError,
    PermanentError,
    RetryableError,
    ThrottledError,
    UnavailableError,
)
from keyturn.material import KeyMaterial
from keyturn.model import KeyRef, LoginLife, Mark, Verdict
from keyturn.providers.openai import OpenAI
from keyturn.references import resolver
from keyturn.testing.faults import Fault
from keyturn.testing.openai_organization import Organization
from keyturn.testing.processes import free_port
from keyturn.testing.vendors.openai_admin_key import OpenAIAdminKeySimulator
from tests.providers.conftest import ACCOUNT, PROJECT, Clock, Provider, Server

MARK = Mark.of("openai-prod", "vault:litellm/providers#OPENAI_API_KEY")


def label() -> str:
    return MARK.label(str(uuid.uuid4()))


def calls(organization: Organization, operation: str) -> int:
    return sum(call.operation == operation for call in organization.calls)


def live(organization: Organization) -> list[str]:
    """The names of the keys that are still accepted."""
    return [key.name for key in organization.keys.values() if key.accepted(organization.clock())]


# create, list, find


async def test_a_created_key_is_accepted_and_listed_under_its_label(provider: Provider) -> None:
    openai, name = provider(), label()
    created = await openai.create(name)
    (found,) = await openai.find(name)
    assert (
        (found.id, found.name, found.owner)
        == (created.ref.id, name, ACCOUNT)
        == (found.id, created.ref.name, created.ref.owner)
    )
    assert created.material.fits_hint(found.hint)
    assert found in await openai.list()
    assert MARK.is_ours(found.name)
    assert (await openai.check(created.material)).verdict is Verdict.ACCEPTED


async def test_without_an_account_each_key_gets_one_that_carries_the_label(
    provider: Provider, organization: Organization
) -> None:
    openai, name = provider(service_account=None), label()
    created = await openai.create(name, timedelta(days=30))
    (found,) = await openai.find(name)
    assert (found.id, found.name, found.owner) == (created.ref.id, name, created.ref.owner)
    assert organization.accounts[found.owner].name == name
    assert found in await openai.list()
    assert (await openai.check(created.material)).verdict is Verdict.ACCEPTED


async def test_keys_made_before_a_change_of_service_account_keep_their_labels(provider: Provider) -> None:
    by_account, by_key = label(), label()
    await provider(service_account=None).create(by_account)
    await provider().create(by_key)
    for openai in (provider(), provider(service_account=None)):
        assert {by_account, by_key} <= {key.name for key in await openai.list()}
        assert len(await openai.find(by_account)) == len(await openai.find(by_key)) == 1


async def test_the_fuse_reaches_openai(provider: Provider, organization: Organization, clock: Clock) -> None:
    lifetime = timedelta(days=90)
    for openai in (provider(), provider(service_account=None)):
        created = await openai.create(label(), lifetime)
        end = datetime.fromtimestamp(clock.now, UTC) + lifetime
        assert created.ref.expires_at == end
        assert [key.expires_at for key in await openai.list() if key.id == created.ref.id] == [end]
        clock.now += lifetime.total_seconds() + 1
        assert (await openai.check(created.material)).verdict is Verdict.REJECTED


async def test_a_lifetime_that_openai_does_not_have_is_refused_before_anything_is_sent(
    provider: Provider, organization: Organization
) -> None:
    for lifetime in (timedelta(days=366), timedelta(0)):
        with pytest.raises(MisconfiguredError, match="key_lifetime"):
            await provider().create(label(), lifetime)
    assert not organization.calls


async def test_more_keys_than_one_page_holds_are_all_listed_oldest_first(
    provider: Provider, organization: Organization, clock: Clock
) -> None:
    names = [label() for _ in range(230)]
    for name in names:
        clock.now += 1
        organization.add_key(PROJECT, name, account=ACCOUNT)
    openai = provider()
    assert [key.name for key in await openai.list()] == names
    assert calls(organization, "list_keys") == 3
    assert len(await openai.find(names[0])) == 1


async def test_keys_whose_owner_has_no_access_are_listed_too(provider: Provider, organization: Organization) -> None:
    account = organization.add_account(PROJECT, "no-role", role="none")
    organization.add_key(PROJECT, "hidden by default", account=account.id)
    organization.add_key(PROJECT, "a user's")
    assert {key.name for key in await provider().list()} == {"hidden by default", "a user's"}


async def test_scopes_are_sent_with_a_key_and_refused_without_an_account(provider: Provider) -> None:
    await provider(scopes=["api.responses.write"]).create(label())
    with pytest.raises(ValidationError, match="scopes needs service_account"):
        provider(scopes=["api.responses.write"], service_account=None)


@pytest.mark.parametrize("account", [ACCOUNT, None])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(operation="admin", kind="lose_answer"),
        Fault(operation="admin", kind="status", status=503, commit=True),
        Fault(operation="admin", kind="slow", seconds=30, commit=True),
        Fault(operation="admin", kind="html", status=200, commit=True),
        Fault(operation="admin", kind="status", status=200, commit=True),
    ],
    ids=["reset", "5xx", "timeout", "page", "other-json"],
)
async def test_a_create_whose_answer_is_lost_says_so_and_is_found_by_its_label(
    provider: Provider, organization: Organization, fault: Fault, account: str | None
) -> None:
    openai, name = provider(service_account=account, timeout="1s" if fault.kind == "slow" else "30s"), label()
    organization.faults.append(fault.model_copy())
    with pytest.raises(LostAnswerError):
        await openai.create(name)
    (orphan,) = await openai.find(name)
    await openai.revoke(orphan)
    assert await openai.find(name) == []
    assert live(organization) == []


async def test_a_create_that_was_never_sent_is_unavailable_and_not_lost(provider: Provider) -> None:
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await provider(base_url=f"http://127.0.0.1:{free_port()}/v1").create(label())


async def test_a_refused_create_names_what_to_change(provider: Provider, organization: Organization) -> None:
    organization.behaviour.max_key_lifetime = 3600
    with pytest.raises(MisconfiguredError, match="key_lifetime"):
        await provider().create(label())
    assert live(organization) == []


# last use


async def test_last_used_is_read_anew(provider: Provider, organization: Organization, clock: Clock) -> None:
    openai = provider()
    created = await openai.create(label())
    assert await openai.last_used(created.ref) is None
    clock.now += 100
    await openai.check(created.material)
    assert await openai.last_used(created.ref) == datetime.fromtimestamp(clock.now, UTC)
    await openai.revoke(created.ref)
    with pytest.raises(NotFoundError):
        await openai.last_used(created.ref)


# revoke


@pytest.mark.parametrize("account", [ACCOUNT, None])
async def test_a_revoked_key_is_refused_and_revoking_it_again_is_quiet(
    provider: Provider, organization: Organization, account: str | None
) -> None:
    openai = provider(service_account=account)
    kept, created = await openai.create(label()), await openai.create(label())
    for _ in range(2):
        await openai.revoke(created.ref)
    assert (await openai.check(created.material)).verdict is Verdict.REJECTED
    assert [key.id for key in await openai.list()] == [kept.ref.id]
    assert (await openai.check(kept.material)).verdict is Verdict.ACCEPTED


async def test_a_revoke_in_a_configured_account_is_one_call(provider: Provider, organization: Organization) -> None:
    openai = provider()
    created = await openai.create(label())
    organization.calls.clear()
    await openai.revoke(created.ref)
    assert [call.operation for call in organization.calls] == ["delete_key"]


async def test_an_account_that_was_made_for_a_key_goes_with_it(provider: Provider, organization: Organization) -> None:
    openai = provider(service_account=None)
    created = await openai.create(label())
    organization.faults.append(Fault(operation="delete_account", kind="status", status=500))
    with pytest.raises(UnavailableError):
        await openai.revoke(created.ref)
    await openai.revoke(created.ref)  # the key is gone already: this time its account goes too
    assert list(organization.accounts) == [ACCOUNT]


async def test_an_account_that_cannot_be_removed_does_not_make_a_done_revoke_fail(
    provider: Provider, organization: Organization
) -> None:
    openai = provider(service_account=None)
    created = await openai.create(label())
    organization.faults.append(Fault(operation="delete_account", kind="status", status=403))
    await openai.revoke(created.ref)
    assert live(organization) == []


async def test_a_404_from_a_project_that_cannot_be_seen_is_not_read_as_revoked(
    provider: Provider, organization: Organization
) -> None:
    created = await provider().create(label())
    with pytest.raises(NotFoundError, match="project"):
        await provider(project="proj_other").revoke(created.ref)
    assert live(organization) == [created.ref.name]


async def test_a_404_for_a_key_that_is_listed_is_not_read_as_revoked(provider: Provider, organization: Organization) -> None:
    openai = provider()
    created = await openai.create(label())
    organization.faults.append(Fault(operation="delete_key", kind="status", status=404))
    with pytest.raises(UnavailableError):
        await openai.revoke(created.ref)


async def test_a_200_that_is_not_openais_is_not_read_as_revoked(provider: Provider, organization: Organization) -> None:
    openai = provider()
    created = await openai.create(label())
    organization.faults.append(Fault(operation="delete_key", kind="html", status=200))
    with pytest.raises(UnavailableError):
        await openai.revoke(created.ref)


async def test_where_a_key_cannot_be_deleted_the_account_made_for_it_alone_is(
    provider: Provider, organization: Organization
) -> None:
    organization.behaviour.account_keys_undeletable = True
    openai = provider(service_account=None)
    created, kept = await openai.create(label()), await openai.create(label())
    for ref in (created.ref, KeyRef(created.ref.id, created.ref.name)):  # the second knows no owner, and is absent
        await openai.revoke(ref)
    assert (await openai.check(created.material)).verdict is Verdict.REJECTED
    assert [key.id for key in await openai.list()] == [kept.ref.id]


async def test_an_account_that_is_not_provably_the_keys_own_is_never_deleted(
    provider: Provider, organization: Organization
) -> None:
    organization.behaviour.account_keys_undeletable = True
    mine, theirs = label(), label()
    configured = await provider().create(label())  # in the configured account
    by_hand, _ = organization.add_key(PROJECT, "Secret Key", account=organization.add_account(PROJECT, "billing-bot").id)
    shared = organization.add_account(PROJECT, mine)  # made by us, and then given a second key by somebody
    first, _ = organization.add_key(PROJECT, "Secret Key", account=shared.id)
    organization.add_key(PROJECT, "one more", account=shared.id)
    renamed = organization.add_account(PROJECT, theirs)
    fourth, _ = organization.add_key(PROJECT, "Secret Key", account=renamed.id)
    refused = [
        (provider(), configured.ref),
        (provider(service_account=None), KeyRef(by_hand.id, "billing-bot", owner=by_hand.account)),
        (provider(service_account=None), KeyRef(first.id, mine, owner=shared.id)),
        (provider(service_account=None), KeyRef(fourth.id, label(), owner=renamed.id)),
        (provider(service_account=renamed.id), KeyRef(fourth.id, theirs, owner=renamed.id)),
    ]
    before = live(organization)
    for openai, ref in refused:
        with pytest.raises(PermanentError, match="dashboard"):
            await openai.revoke(ref)
    assert live(organization) == before
    assert calls(organization, "delete_account") == 0


async def test_an_id_that_is_a_path_reaches_nothing(provider: Provider, organization: Organization) -> None:
    openai = provider()
    for id in ("", "..", "../service_accounts/" + ACCOUNT, "key?x=1"):
        with pytest.raises(NotFoundError):
            await openai.revoke(KeyRef(id, label()))
    assert not organization.calls


# errors


Call = Callable[[OpenAI], Awaitable[object]]
CALLS: list[tuple[str, Call]] = [
    ("create", lambda openai: openai.create(label())),
    ("list", lambda openai: openai.list()),
    ("last_used", lambda openai: openai.last_used(KeyRef("key_1", "a"))),
    ("revoke", lambda openai: openai.revoke(KeyRef("key_1", "a"))),
]
each_call = pytest.mark.parametrize("call", [call for _, call in CALLS], ids=[name for name, _ in CALLS])


@each_call
async def test_a_wrong_admin_key_is_denied_and_named_but_not_printed(provider: Provider, call: Call) -> None:
    wrong = "sk-admin-" + secrets.token_hex(24)
    openai = OpenAI(provider().settings, resolver(environ={"ADMIN": wrong}))
    with pytest.raises(DeniedError, match="env:ADMIN") as caught:
        await call(openai)
    await openai.aclose()
    assert wrong[:8] not in str(caught.value)
    assert wrong[-4:] not in str(caught.value)


async def test_an_admin_key_that_was_replaced_while_a_call_was_under_way_is_read_again(
    provider: Provider, admin_key: KeyMaterial, organization: Organization
) -> None:
    """Another run has rotated it, and deleted the one that this call was about to be made with."""
    old, reads = KeyMaterial("sk-admin-" + secrets.token_hex(24)), 0

    async def resolve(reference: str) -> KeyMaterial:
        nonlocal reads
        reads += 1
        return old if reads == 1 else admin_key

    openai = OpenAI(provider().settings, resolve)
    await openai.create(label())
    await openai.aclose()
    assert (reads, calls(organization, "create_key"), len(live(organization))) == (2, 2, 1)


@each_call
async def test_a_403_is_denied(provider: Provider, organization: Organization, call: Call) -> None:
    organization.faults.append(Fault(operation="admin", kind="status", status=403))
    with pytest.raises(DeniedError, match="Admin keys"):
        await call(provider())


@each_call
async def test_a_429_is_throttled_with_the_time_that_openai_asks_for(
    provider: Provider, organization: Organization, call: Call
) -> None:
    for given, wanted in ((7.0, 7.0), (None, None)):
        organization.faults.append(Fault(operation="admin", kind="throttle", retry_after=given))
        with pytest.raises(ThrottledError) as caught:
            await call(provider())
        assert caught.value.retry_after == wanted


@pytest.mark.parametrize(
    "fault",
    [
        Fault(operation="admin", kind="status", status=500),
        Fault(operation="admin", kind="html", status=502),
        Fault(operation="admin", kind="reset"),
        Fault(operation="admin", kind="html", status=200),
    ],
    ids=["500", "502", "reset", "page"],
)
async def test_a_read_or_delete_that_fails_on_their_side_may_be_repeated(
    provider: Provider, organization: Organization, fault: Fault
) -> None:
    for name, call in CALLS[1:]:
        organization.faults.append(fault.model_copy())
        with pytest.raises(RetryableError):
            await call(provider())
        assert not organization.faults, name


async def test_no_message_quotes_what_openai_said(provider: Provider, organization: Organization) -> None:
    marker, openai = "marker" + secrets.token_hex(8), provider()
    for status in (302, 400, 401, 403, 404, 409, 418, 422, 429, 500):
        for _, call in CALLS:
            organization.faults.append(Fault(operation="admin", kind="status", status=status, code=marker, times=None))
            with pytest.raises(KeyturnError) as caught:
                await call(openai)
            organization.faults.clear()
            assert marker not in str(caught.value)
            assert "simulated" not in str(caught.value)


async def test_an_admin_key_that_no_header_can_carry_does_not_reach_an_exception(provider: Provider) -> None:
    odd = "sk-admin-é" + secrets.token_hex(24)
    openai = OpenAI(provider().settings, resolver(environ={"ADMIN": odd}))
    with pytest.raises(DeniedError) as caught:
        await openai.list()
    await openai.aclose()
    assert odd[-8:] not in repr(caught.getrepr(chain=True))


@pytest.mark.parametrize("address", ["http://127.0.0.1:port/v1", "http://127.0.0.1:70000/v1", "127.0.0.1", "http://u:p@h"])
def test_an_address_that_is_none_is_refused_as_a_setting(provider: Provider, address: str) -> None:
    with pytest.raises(ValidationError, match="base_url") as caught:
        provider(base_url=address)
    assert address not in str(caught.value)


async def test_a_proxy_variable_that_is_none_is_a_matter_of_configuration(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://127.0.0.1")
    with pytest.raises(MisconfiguredError, match="proxy variables"):
        await provider().list()


# check


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(operation="models", kind="status", status=401, code="ip_not_authorized"), "allow-list"),
        (Fault(operation="models", kind="status", status=401), "membership"),
        (Fault(operation="models", kind="status", status=401, code="account_deactivated"), "deactivated"),
        (Fault(operation="models", kind="html", status=401), "401"),
        (Fault(operation="models", kind="status", status=402), "billing"),
        (Fault(operation="models", kind="status", status=403, code="missing_scope"), "scopes"),
        (Fault(operation="models", kind="status", status=403, code="invalid_api_key"), "scopes"),
        (Fault(operation="models", kind="status", status=404), "404"),
        (Fault(operation="models", kind="throttle", retry_after=1), "too many"),
        (Fault(operation="models", kind="quota"), "quota"),
        (Fault(operation="models", kind="status", status=500), "500"),
        (Fault(operation="models", kind="status", status=400, code="invalid_api_key"), "400"),
        (Fault(operation="models", kind="status", status=302), "302"),
        (Fault(operation="models", kind="html", status=503), "503"),
        (Fault(operation="models", kind="html", status=200), "200"),
        (Fault(operation="models", kind="reset"), "no answer"),
        (Fault(operation="models", kind="slow", seconds=30), "ReadTimeout"),
    ],
    ids=lambda value: f"{value.kind}-{value.status}-{value.code}" if isinstance(value, Fault) else value,
)
async def test_all_but_two_answers_are_indeterminate(
    provider: Provider, organization: Organization, fault: Fault, words: str
) -> None:
    openai = provider(timeout="1s" if fault.kind == "slow" else "30s")
    created = await openai.create(label())
    organization.faults.append(fault.model_copy())
    judgement = await openai.check(created.material)
    assert judgement.verdict is Verdict.INDETERMINATE
    assert words in judgement.reason
    assert (await openai.check(created.material)).verdict is Verdict.ACCEPTED


async def test_a_key_that_nobody_has_is_rejected(provider: Provider) -> None:
    judgement = await provider().check(KeyMaterial("sk-" + secrets.token_hex(24)))
    assert judgement.verdict is Verdict.REJECTED
    assert (await provider().check(KeyMaterial("sk-é" + secrets.token_hex(24)))).verdict is Verdict.REJECTED


async def test_an_unreachable_address_is_indeterminate(provider: Provider) -> None:
    judgement = await provider(base_url=f"http://127.0.0.1:{free_port()}/v1").check(
        KeyMaterial("sk-" + secrets.token_hex(24))
    )
    assert (judgement.verdict, judgement.reason) == (Verdict.INDETERMINATE, "no answer from base_url (ConnectError)")


async def test_an_address_that_lists_models_to_anyone_proves_nothing(provider: Provider, server: Server) -> None:
    async def models(_request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": []})

    server.app = Starlette(routes=[Route("/v1/models", models)])
    judgement = await provider().check(KeyMaterial("sk-" + secrets.token_hex(24)))
    assert judgement.verdict is Verdict.INDETERMINATE
    assert "nobody has" in judgement.reason


async def test_the_negative_control_is_asked_once(provider: Provider, organization: Organization) -> None:
    openai = provider()
    created = await openai.create(label())
    for _ in range(3):
        assert (await openai.check(created.material)).verdict is Verdict.ACCEPTED
    assert calls(organization, "models") == 4


async def test_a_fresh_key_is_refused_until_it_has_spread_and_a_dead_one_accepted_as_long(
    provider: Provider, organization: Organization, clock: Clock
) -> None:
    organization.behaviour.accept_delay = organization.behaviour.refuse_delay = 20
    openai = provider()
    created = await openai.create(label())
    verdicts = []
    for step in (lambda: openai.list(), lambda: openai.revoke(created.ref)):
        await step()
        for seconds in (0, 20):
            clock.now += seconds
            verdicts.append((await openai.check(created.material)).verdict)
    assert verdicts == [Verdict.REJECTED, Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.REJECTED]


# preflight, settings


async def test_preflight_finds_all_well(provider: Provider, organization: Organization) -> None:
    for openai in (provider(), provider(service_account=None)):
        findings = await openai.preflight()
        assert [finding.ok for finding in findings] == [True, None, True, True]
        assert (findings[0].what, findings[1].what) == ("may list keys at OpenAI", "may create and delete keys at OpenAI")
        assert "write project API keys and service accounts" in findings[1].remedy
    assert {call.operation for call in organization.calls} == {"list_keys", "get_project", "get_account", "list_accounts"}


@pytest.mark.parametrize(
    ("settings", "fault", "ok", "remedy"),
    [
        ({"project": "proj_other"}, None, [False], "check project"),
        ({"project": "proj_archived"}, None, [True, None, False, False], "name another project"),
        ({"service_account": "svc_acct_other"}, None, [True, None, True, False], "check project and service_account"),
        ({"service_account": "svc_acct_idle"}, None, [True, None, True, None], "inference"),
        ({"admin_key": "env:NOT_SET"}, None, [False], "set the environment variable NOT_SET"),
        ({"base_url": "http://127.0.0.1:1/v1"}, None, [False], "check base_url"),
        ({}, Fault(operation="list_keys", kind="status", status=401), [False], "env:ADMIN"),
        ({}, Fault(operation="list_keys", kind="status", status=403), [False], "env:ADMIN"),
        ({}, Fault(operation="get_project", kind="status", status=403), [True, None, None, True], "env:ADMIN"),
        ({}, Fault(operation="get_account", kind="status", status=403), [True, None, True, False], "env:ADMIN"),
        ({}, Fault(operation="get_project", kind="throttle"), [True, None, None, True], ""),
        ({}, Fault(operation="list_keys", kind="html", status=200), [False], "check base_url"),
    ],
    ids=["project", "archived", "account", "no-role", "no-key", "unreachable", "401", "403", "403p", "403a", "429", "page"],
)
async def test_preflight_says_what_is_wrong_and_what_to_do(
    provider: Provider,
    organization: Organization,
    settings: dict[str, str],
    fault: Fault | None,
    ok: list[bool | None],
    remedy: str,
) -> None:
    organization.add_project("proj_archived", archived=True)
    organization.add_account(PROJECT, "idle", role="none", id="svc_acct_idle")
    organization.faults += [fault.model_copy()] if fault else []
    findings = await provider(**settings).preflight()
    assert [finding.ok for finding in findings] == ok
    assert remedy in next(finding.remedy for finding in findings if not finding.ok and "may create" not in finding.what)


async def test_capabilities_come_from_the_settings(provider: Provider) -> None:
    capabilities = provider(usage_lag="15m", propagation="2m").capabilities
    assert (capabilities.usage_lag, capabilities.propagation) == (timedelta(minutes=15), timedelta(minutes=2))
    assert capabilities.supports_expiry
    assert capabilities.reports_last_use
    assert not capabilities.can_disable


@pytest.mark.parametrize(
    "wrong",
    [{"admin_key": "not-a-reference"}, {"project": "../x"}, {"service_account": "a/b"}, {"timeout": 5}, {"unknown": 1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_are_wrong_are_refused_without_printing_them(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        OpenAI.Settings.model_validate({"admin_key": "env:ADMIN", "project": "proj_1"} | wrong)
    assert "not-a-reference" not in str(caught.value)
    assert caught.value.errors()[0]["loc"] == (next(iter(wrong)),)


async def test_the_age_of_the_admin_key_is_told_where_it_may_list_admin_keys(
    provider: Provider, admin_key: KeyMaterial, organization: Organization, server: Server, clock: Clock
) -> None:
    keys = OpenAIAdminKeySimulator(admin_key, clock)
    openai, others = provider(), server.app

    async def by_path(scope: Scope, receive: Receive, send: Send) -> None:
        is_theirs = scope.get("path", "").startswith("/v1/organization/admin_api_keys")
        await (keys.app() if is_theirs else others)(scope, receive, send)

    server.app = by_path
    assert await openai.login_life() is None, "it is not listed"
    keys.add_key("by hand", text=admin_key.reveal(), expires_at=clock.now + 3600)
    moment = datetime.fromtimestamp(clock.now, UTC)
    assert await openai.login_life() == LoginLife(moment, moment + timedelta(hours=1))
    keys.faults.append(Fault(operation="admin", kind="status", status=403))
    with pytest.raises(DeniedError):
        await openai.login_life()
