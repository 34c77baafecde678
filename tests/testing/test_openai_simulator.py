"""The simulator, driven by the vendor's own SDK, and by its control endpoints."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI

from keyturn.material import KeyMaterial
from keyturn.testing.faults import Fault
from keyturn.testing.openai_organization import Behaviour, Organization
from keyturn.testing.openai_simulator import OpenAISimulator, main
from keyturn.testing.processes import Processes, free_port, wait_for_http

PROJECT = "proj_test"


class Clock:
    """The simulator's time, turned by hand."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admin_key() -> KeyMaterial:
    return KeyMaterial("sk-admin-" + secrets.token_hex(24))


@pytest.fixture
def organization(admin_key: KeyMaterial, clock: Clock) -> Organization:
    organization = Organization(admin_key, behaviour=Behaviour(stream_gap=0, key_literal="needle"), clock=clock)
    organization.add_project(PROJECT)
    return organization


@pytest.fixture
def simulator(organization: Organization) -> Iterator[OpenAISimulator]:
    with OpenAISimulator(organization) as running:
        yield running


@pytest.fixture
def control(simulator: OpenAISimulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{simulator.url}/_sim", trust_env=False) as client:
        yield client


@pytest.fixture
def admin(simulator: OpenAISimulator, admin_key: KeyMaterial) -> Iterator[OpenAI]:
    with OpenAI(
        api_key="unused",
        admin_api_key=admin_key.reveal(),
        base_url=simulator.base_url,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


def inference(simulator: OpenAISimulator, key: str | KeyMaterial) -> OpenAI:
    text = key.reveal() if isinstance(key, KeyMaterial) else key
    return OpenAI(api_key=text, base_url=simulator.base_url, max_retries=0, _strict_response_validation=True)


def ask(client: OpenAI) -> str | None:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}])
    return answer.choices[0].message.content


# The vendor's SDK, unchanged


def test_a_model_that_is_not_there_is_refused_as_the_vendor_refuses_it(admin: OpenAI, simulator: OpenAISimulator) -> None:
    account = admin.admin.organization.projects.service_accounts.create(PROJECT, name="litellm")
    assert account.api_key is not None
    simulator.organization.behaviour.models = ["another"]
    with pytest.raises(openai.NotFoundError) as refused:
        ask(inference(simulator, account.api_key.value))
    assert refused.value.code == "model_not_found"


def test_the_sdk_makes_lists_and_deletes_keys_of_a_service_account(
    admin: OpenAI, simulator: OpenAISimulator, clock: Clock
) -> None:
    projects = admin.admin.organization.projects
    account = projects.service_accounts.create(PROJECT, name="litellm", create_service_account_only=True)
    assert (account.role, account.api_key) == ("none", None)
    assert projects.service_accounts.update(account.id, project_id=PROJECT, role="member").role == "member"
    made = projects.service_accounts.api_keys.create(
        account.id, project_id=PROJECT, name="one", scopes=["api.responses.write"], expires_in_seconds=3600
    )
    assert made.expires_at == int(clock.now) + 3600
    assert ask(inference(simulator, made.value)) == f"served-by {KeyMaterial(made.value).fingerprint()}"
    listed = projects.api_keys.retrieve(made.id, project_id=PROJECT)
    assert KeyMaterial(made.value).fits_hint(listed.redacted_value)
    assert listed.last_used_at == int(clock.now)
    assert listed.owner.service_account is not None
    assert listed.owner.service_account.id == account.id
    assert projects.api_keys.delete(made.id, project_id=PROJECT).deleted
    assert list(projects.api_keys.list(PROJECT)) == []
    with pytest.raises(openai.NotFoundError):
        projects.api_keys.delete(made.id, project_id=PROJECT)


def test_the_sdk_makes_an_account_with_its_first_key_and_deletes_both(admin: OpenAI, simulator: OpenAISimulator) -> None:
    projects = admin.admin.organization.projects
    account = projects.service_accounts.create(PROJECT, name="litellm")
    assert account.api_key is not None
    client = inference(simulator, account.api_key.value)
    assert [model.id for model in client.models.list()] == ["gpt-4o-mini"]
    assert [each.id for each in projects.service_accounts.list(PROJECT)] == [account.id]
    assert projects.service_accounts.delete(account.id, project_id=PROJECT).deleted
    with pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert caught.value.code == "invalid_api_key"


def test_the_sdk_pages_through_keys(admin: OpenAI, organization: Organization) -> None:
    account = organization.add_account(PROJECT, "litellm")
    made = [organization.add_key(PROJECT, f"key {number}", account=account.id)[0].id for number in range(25)]
    assert [key.id for key in admin.admin.organization.projects.api_keys.list(PROJECT, limit=10)] == made[::-1]


def test_the_sdk_sees_no_field_that_it_does_not_know(admin: OpenAI, organization: Organization) -> None:
    projects = admin.admin.organization.projects
    account = projects.service_accounts.create(PROJECT, name="litellm")
    organization.add_key(PROJECT, "a user's")
    answers = [
        account,
        projects.retrieve(PROJECT),
        projects.service_accounts.retrieve(account.id, project_id=PROJECT),
        projects.service_accounts.api_keys.create(account.id, project_id=PROJECT),
        *projects.api_keys.list(PROJECT, owner_project_access="any"),
        *projects.service_accounts.list(PROJECT),
    ]
    for answer in answers:
        extra = [getattr(part, "model_extra", None) for part in (answer, getattr(answer, "api_key", None))]
        assert not any(extra), answer.object


def test_the_sdk_streams(simulator: OpenAISimulator, organization: Organization) -> None:
    organization.behaviour.stream_chunks = 7
    key, material = organization.add_key(PROJECT, "one")
    stream = inference(simulator, material).chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "hello"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == f"served-by {key.fingerprint} 1 2 3 4 5 6"
    assert chunks[-1].usage is not None
    assert len(chunks) == 9


def test_answers_of_one_model_may_take_their_time(simulator: OpenAISimulator, organization: Organization) -> None:
    organization.behaviour.models = ["gpt-4o-mini", "gpt-4o"]
    organization.behaviour.answer_seconds = {"gpt-4o": 0.4}
    _, material = organization.add_key(PROJECT, "one")

    def seconds(model: str, stream: bool) -> float:
        begun = time.monotonic()
        answer = inference(simulator, material).chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hello"}], stream=stream
        )
        list(answer)
        return time.monotonic() - begun

    assert seconds("gpt-4o", stream=False) >= 0.4
    assert seconds("gpt-4o", stream=True) >= 0.4
    organization.behaviour.answer_seconds = {"gpt-4o": 60.0}
    seconds("gpt-4o-mini", stream=True)  # does not wait: the minute is the other model's


def test_the_sdk_reads_usage_by_key(admin: OpenAI, simulator: OpenAISimulator, organization: Organization) -> None:
    _, material = organization.add_key(PROJECT, "one")
    other, unused = organization.add_key(PROJECT, "two")
    start = int(organization.clock())
    ask(inference(simulator, material))
    inference(simulator, unused).models.list()
    page = admin.admin.organization.usage.completions(start_time=start, bucket_width="1m", group_by=["api_key_id"])
    rows = [row for bucket in page.data for row in bucket.results]
    assert [(row.object, row.num_model_requests) for row in rows] == [("organization.usage.completions.result", 1)]  # type: ignore[union-attr]
    page = admin.admin.organization.usage.completions(start_time=start, bucket_width="1m", api_key_ids=[other.id])
    assert not any(bucket.results for bucket in page.data)


def test_a_wrong_key_and_a_key_of_the_other_kind_are_refused(
    simulator: OpenAISimulator, admin_key: KeyMaterial, organization: Organization
) -> None:
    _, material = organization.add_key(PROJECT, "one")
    with pytest.raises(openai.AuthenticationError):
        ask(inference(simulator, "sk-" + secrets.token_hex(24)))
    with pytest.raises(openai.AuthenticationError):
        ask(inference(simulator, admin_key))
    for key, error in ((material, openai.PermissionDeniedError), (admin_key, None)):
        client = OpenAI(api_key="unused", admin_api_key=key.reveal(), base_url=simulator.base_url, max_retries=0)
        if error is None:
            client.admin.organization.projects.retrieve(PROJECT)
        else:
            with pytest.raises(error):
                client.admin.organization.projects.retrieve(PROJECT)


def test_openais_rules_are_kept(admin: OpenAI, organization: Organization) -> None:
    projects = admin.admin.organization.projects
    account = organization.add_account(PROJECT, "litellm")
    key, _ = organization.add_key(PROJECT, "one", account=account.id)
    organization.add_project("proj_archived", archived=True)
    organization.behaviour = Behaviour(account_keys_undeletable=True, max_key_lifetime=60)
    with pytest.raises(openai.BadRequestError):
        projects.api_keys.delete(key.id, project_id=PROJECT)
    for seconds in (61, None):
        with pytest.raises(openai.BadRequestError):
            projects.service_accounts.create(PROJECT, name="two", expires_in_seconds=seconds)
    with pytest.raises(openai.BadRequestError):
        projects.service_accounts.create("proj_archived", name="three", expires_in_seconds=1)
    with pytest.raises(openai.BadRequestError):
        projects.service_accounts.create(PROJECT, name="four", extra_body={"expires_in": 5})
    with pytest.raises(openai.NotFoundError):
        projects.api_keys.list("proj_other")
    with pytest.raises(openai.BadRequestError):
        projects.api_keys.list(PROJECT, limit=101)


# When a key is accepted


def test_a_key_is_accepted_late_and_refused_late(
    admin: OpenAI, simulator: OpenAISimulator, organization: Organization, clock: Clock
) -> None:
    organization.behaviour = Behaviour(accept_delay=5, refuse_delay=3)
    account = admin.admin.organization.projects.service_accounts.create(PROJECT, name="litellm")
    assert account.api_key is not None
    client = inference(simulator, account.api_key.value)
    with pytest.raises(openai.AuthenticationError):
        ask(client)
    clock.now += 5
    ask(client)
    admin.admin.organization.projects.service_accounts.delete(account.id, project_id=PROJECT)
    ask(client)
    clock.now += 3
    with pytest.raises(openai.AuthenticationError):
        ask(client)


def test_a_use_is_reported_late(admin: OpenAI, simulator: OpenAISimulator, organization: Organization, clock: Clock) -> None:
    organization.behaviour.usage_lag = 10
    key, material = organization.add_key(PROJECT, "one")
    used_at = int(clock.now)
    ask(inference(simulator, material))
    retrieve = admin.admin.organization.projects.api_keys.retrieve
    assert retrieve(key.id, project_id=PROJECT).last_used_at is None
    clock.now += 10
    assert retrieve(key.id, project_id=PROJECT).last_used_at == used_at


# Control


def test_an_existing_key_is_seeded_generated_or_given(control: httpx.Client, simulator: OpenAISimulator) -> None:
    given = "sk-" + secrets.token_hex(24)
    generated = control.post("/keys", json={"project": PROJECT, "name": "by hand"}).json()["value"]
    control.post("/keys", json={"project": PROJECT, "name": "old", "value": given}).raise_for_status()
    for text in (generated, given):
        assert ask(inference(simulator, text)) == f"served-by {KeyMaterial(text).fingerprint()}"
    assert "needle" in generated
    listed = control.get("/keys")
    assert [(key["name"], key["accepted"], key["deleted"]) for key in listed.json()] == [
        ("by hand", True, False),
        ("old", True, False),
    ]
    assert given not in listed.text
    assert "needle" not in listed.text


def test_keys_are_chosen_counted_and_aged_by_control(
    control: httpx.Client, simulator: OpenAISimulator, organization: Organization, admin: OpenAI
) -> None:
    control.post("/projects", json={"id": "proj_two"}).raise_for_status()
    one, two = (
        control.post("/keys", json={"project": project, "name": project}).json() for project in (PROJECT, "proj_two")
    )
    assert [key["id"] for key in control.get("/keys", params={"project": "proj_two"}).json()] == [two["id"]]
    chosen = control.get("/keys", params={"fingerprint": [one["fingerprint"], two["fingerprint"], "none"]}).json()
    assert [key["deletions"] for key in chosen] == [0, 0]
    control.post("/age", json={"project": PROJECT, "seconds": 7200}).raise_for_status()
    admin.admin.organization.projects.api_keys.delete(one["id"], project_id=PROJECT)
    aged, other = control.get("/keys").json()
    assert aged["created_at"] == one["created_at"] - 7200 and other["created_at"] == two["created_at"]
    assert (aged["deletions"], aged["deleted"], other["deletions"]) == (1, True, 0)


def test_projects_and_accounts_are_seeded(control: httpx.Client, admin: OpenAI) -> None:
    control.post("/projects", json={"id": "proj_two"}).raise_for_status()
    seed = {"project": "proj_two", "name": "litellm", "id": "svc_acct_two"}
    control.post("/service_accounts", json=seed).raise_for_status()
    accounts = admin.admin.organization.projects.service_accounts
    assert accounts.retrieve("svc_acct_two", project_id="proj_two").name == "litellm"


def test_the_log_says_who_was_served_and_who_was_rejected(
    control: httpx.Client, simulator: OpenAISimulator, organization: Organization
) -> None:
    _, material = organization.add_key(PROJECT, "one")
    stranger = KeyMaterial("sk-" + secrets.token_hex(24))
    ask(inference(simulator, material))
    inference(simulator, material).models.list()
    with pytest.raises(openai.AuthenticationError):
        ask(inference(simulator, stranger))
    log = control.get("/log")
    assert {name: (tally["served"], tally["rejected"]) for name, tally in log.json()["keys"].items()} == {
        material.fingerprint(): (2, 0),
        stranger.fingerprint(): (0, 1),
    }
    assert stranger.reveal() not in log.text
    chosen = control.get("/log", params={"operation": "chat", "fingerprint": material.fingerprint()}).json()
    assert [(call["operation"], call["status"]) for call in chosen["calls"]] == [("chat", 200)]
    control.post("/reset")
    assert control.get("/log").json() == {"calls": [], "keys": {}}


def test_faults_hit_the_requests_they_name_as_often_as_they_say(
    control: httpx.Client, simulator: OpenAISimulator, organization: Organization
) -> None:
    key, material = organization.add_key(PROJECT, "one")
    _, other = organization.add_key(PROJECT, "two")
    fault = {"operation": "inference", "kind": "throttle", "skip": 1, "times": 2, "key_id": key.id, "retry_after": 7}
    control.post("/faults", json=fault).raise_for_status()
    outcomes = []
    for _ in range(4):
        ask(inference(simulator, other))
        try:
            ask(inference(simulator, material))
            outcomes.append("served")
        except openai.RateLimitError as error:
            outcomes.append(error.response.headers["retry-after"])
    assert outcomes == ["served", "7", "7", "served"]
    control.post("/faults", json={"operation": "*", "kind": "status", "status": 503, "times": None})
    control.delete("/faults")
    ask(inference(simulator, material))


def test_a_fault_meets_the_calls_of_one_address(
    control: httpx.Client, simulator: OpenAISimulator, organization: Organization
) -> None:
    client = inference(simulator, organization.add_key(PROJECT, "one")[1])
    control.post("/faults", json={"operation": "chat", "kind": "status", "status": 401, "address": "203.0.113.7"})
    ask(client)
    ask(client.with_options(default_headers={"X-Forwarded-For": "203.0.113.8"}))
    with pytest.raises(openai.AuthenticationError):
        ask(client.with_options(default_headers={"X-Forwarded-For": "203.0.113.7"}))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(operation="chat", kind="status", status=500), openai.InternalServerError),
        (Fault(operation="chat", kind="status", status=403, code="model_not_found"), openai.PermissionDeniedError),
        (Fault(operation="chat", kind="status", status=402), openai.APIStatusError),
        (Fault(operation="chat", kind="quota"), openai.RateLimitError),
        (Fault(operation="chat", kind="html", status=502), openai.InternalServerError),
        (Fault(operation="chat", kind="reset"), openai.APIConnectionError),
        (Fault(operation="chat", kind="lose_answer"), openai.APIConnectionError),
    ],
    ids=["500", "403", "402", "quota", "page", "reset", "lost"],
)
def test_the_sdk_sees_each_fault_as_what_it_is(
    simulator: OpenAISimulator, organization: Organization, fault: Fault, error: type[Exception]
) -> None:
    _, material = organization.add_key(PROJECT, "one")
    organization.faults.append(fault.model_copy())
    with pytest.raises(error):
        ask(inference(simulator, material))
    assert ask(inference(simulator, material))


def test_an_answer_is_lost_after_the_key_was_made(admin: OpenAI, organization: Organization) -> None:
    organization.faults.append(Fault(operation="create_account", kind="lose_answer"))
    accounts = admin.admin.organization.projects.service_accounts
    with pytest.raises(openai.APIConnectionError):
        accounts.create(PROJECT, name="litellm")
    assert [account.name for account in accounts.list(PROJECT)] == ["litellm"]


def test_control_refuses_what_it_does_not_know_without_repeating_it(control: httpx.Client) -> None:
    text = secrets.token_hex(8)
    for path, body in [
        ("/faults", {"operation": "nothing", "kind": "reset"}),
        ("/faults", {"operation": "chat", "kind": text}),
        ("/behaviour", {"accept_dealy": 1}),
        ("/keys", {"project": PROJECT, "name": "x", "text": text}),
    ]:
        answer = control.post(path, json=body)
        assert answer.status_code == 400
        assert text not in answer.text
    assert control.post("/behaviour", json={"latency": 0.0, "stream_chunks": 2}).json()["stream_chunks"] == 2


# The program


@pytest.mark.real
def test_the_program_serves_and_stops_and_logs_no_key(tmp_path: Path) -> None:
    admin_key, existing, port = "sk-admin-" + secrets.token_hex(24), "sk-" + secrets.token_hex(24), free_port()
    processes = Processes(tmp_path)
    command = [sys.executable, "-m", "keyturn.testing.openai_simulator", "--port", str(port)]
    command += ["--admin-key-env", "SIM_ADMIN", "--service-account", "svc_acct_1", "--key-env", "SIM_KEY"]
    try:
        process = processes.start("simulator", command, {"SIM_ADMIN": admin_key, "SIM_KEY": existing}, Path.cwd())
        wait_for_http(f"http://127.0.0.1:{port}/_sim/health", seconds=60, process=process)
        httpx.post(f"http://127.0.0.1:{port}/_sim/behaviour", json={"key_literal": "needle"})
        base_url = f"http://127.0.0.1:{port}/v1"
        assert ask(OpenAI(api_key=existing, base_url=base_url)) == f"served-by {KeyMaterial(existing).fingerprint()}"
        accounts = OpenAI(
            api_key="x", admin_api_key=admin_key, base_url=base_url
        ).admin.organization.projects.service_accounts
        made = accounts.api_keys.create("svc_acct_1", project_id="proj_simulated", name="two").value
        with pytest.raises(openai.AuthenticationError):
            ask(OpenAI(api_key=made[:-1], base_url=base_url))
    finally:
        processes.stop()
    assert process.returncode in (0, -15)
    log = (tmp_path / "simulator.log").read_text()
    assert not any(text in log for text in (admin_key, existing, "needle"))


def test_the_program_says_which_variable_it_misses(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIM_ADMIN", raising=False)
    assert main(["--port", "1", "--admin-key-env", "SIM_ADMIN"]) == 2
    assert "SIM_ADMIN" in capsys.readouterr().err
    assert "SIM_ADMIN" not in os.environ
