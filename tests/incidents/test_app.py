"""The service over HTTP: who is let in, what is begun, and that nothing of a request comes out again."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from keyturn.errors import UnavailableError
from keyturn.key_parts import AWS_ACCESS_KEY, joined
from keyturn.material import KeyMaterial
from keyturn.model import Stage
from keyturn.testing.leaks import Needles
from tests.incidents import signing
from tests.incidents.scene import Service, new_key


@pytest.fixture
def service() -> Service:
    return Service()


def fingerprint(text: str) -> str:
    return KeyMaterial(text).fingerprint()


def names(service: Service) -> list[list[str]]:
    return [[each.name for each in subjects] for subjects, _ in service.started]


# What has leaked -------------------------------------------------------------------------------------------------------


def test_a_credential_begins_a_run_and_its_address_tells_how_far_it_is(service: Service) -> None:
    answer = service.post({"credential": "one", "policy": "revoke_first"})
    assert answer.status_code == 202
    told = answer.json()
    assert told["id"] == str(service.run)
    assert told["address"] == answer.headers["location"] == f"/incidents/{service.run}"
    ((subject,), policy) = service.started[0]
    current = fingerprint(service.stores.keys["one"][Stage.CURRENT])
    assert (subject.name, subject.credentials, subject.same) == ("credential.one", ("one",), (f"key.{current}",))
    assert policy == "revoke_first"
    progress = service.http.get(told["address"], headers=service.bearer)
    assert progress.json()["state"] == "running"
    assert progress.json()["steps"] == [{"step": "create", "state": "done"}]


def test_many_credentials_and_a_provider(service: Service) -> None:
    service.post({"credentials": ["two", "one"]})
    service.post({"provider": "openai-org"})
    assert names(service) == [["credential.one", "credential.two"]] * 2


@pytest.mark.parametrize("way", ["key", "sha256", "fingerprint"])
def test_a_key_by_its_text_or_a_digest_of_it_finds_its_credential(service: Service, way: str) -> None:
    text = service.stores.keys["two"][Stage.CURRENT]
    said = {"key": f"{text}\n", "sha256": hashlib.sha256(text.encode()).hexdigest(), "fingerprint": fingerprint(text)}
    assert service.post({way: said[way]}).status_code == 202
    ((subject,), _) = service.started[0]
    assert (subject.name, subject.credentials) == (f"key.{fingerprint(text)}", ("two",))
    assert subject.same == ("credential.two",)


def test_an_old_key_is_another_leak_than_its_credentials(service: Service) -> None:
    service.post({"key": service.stores.keys["two"][Stage.PREVIOUS]})
    ((subject,), _) = service.started[0]
    assert (subject.credentials, subject.same) == (("two",), ())


def test_a_key_that_no_stage_holds_any_more_is_known_by_its_note(service: Service) -> None:
    text = new_key()
    service.stores.remembered["six"] = fingerprint(text)
    service.post({"key": text})
    ((subject,), _) = service.started[0]
    assert (subject.name, subject.credentials) == (f"key.{fingerprint(text)}", ("six",))


def test_one_part_of_a_key_of_several_parts_is_the_whole_key(service: Service) -> None:
    parts = {"AWS_ACCESS_KEY_ID": "AKIA" + "X" * 16, "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20)}
    service.stores.keys["six"] = {Stage.CURRENT: joined(parts)}
    service.stores.parts_of["six"] = AWS_ACCESS_KEY
    service.post({"key": parts["AWS_SECRET_ACCESS_KEY"]})
    ((subject,), _) = service.started[0]
    assert subject.name == f"key.{fingerprint(joined(parts))}"


def test_a_key_of_two_credentials_is_one_leak_of_both(service: Service) -> None:
    service.stores.keys["one"][Stage.CURRENT] = service.stores.keys["six"][Stage.CURRENT]
    service.post({"key": service.stores.keys["six"][Stage.CURRENT]})
    ((subject,), _) = service.started[0]
    assert subject.credentials == ("one", "six")


def test_what_is_nothing_of_ours_is_not_found(service: Service) -> None:
    bodies: list[Any] = [{"key": new_key()}, {"credential": "four"}, {"credentials": ["one", "four"]}, {"provider": "none"}]
    for body in bodies:
        answer = service.post(body)
        assert (answer.status_code, answer.json()) == (404, {"error": "not found"}), body
    assert service.started == []


def test_a_key_that_an_unseen_store_may_hold_is_not_said_to_be_none(service: Service) -> None:
    for quality in (service.stores.broken, service.stores.slow):
        quality.add("six")
        answer = service.post({"key": new_key()})
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert service.post({"key": service.stores.keys["one"][Stage.CURRENT]}).status_code == 202, "others are acted on"
        quality.clear()


def test_a_name_needs_no_store(service: Service) -> None:
    service.stores.broken.add("one")
    assert service.post({"credential": "one"}).status_code == 202


def test_when_no_run_can_be_begun_the_caller_is_told_to_come_again(service: Service) -> None:
    service.fails = UnavailableError("Prefect's API does not do what it was asked")
    assert service.post({"credential": "one"}).status_code == 503


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"credential": "one", "credential": "two"}',
        {},
        {"credential": "one", "key": "x"},
        {"credential": "one", "pin": 1},
        {"credential": "one", "policy": "never"},
        {"credential": 1},
        {"credentials": []},
        {"credentials": "one"},
        {"sha256": "abc"},
        {"key": ""},
        {"key": "two\nlines"},
        {"key": "\ud800"},
    ],
)
def test_what_cannot_be_read_begins_nothing(service: Service, body: Any) -> None:
    assert service.post(body).status_code == 400
    assert service.started == []


# Who is let in -----------------------------------------------------------------------------------------------------------


def test_without_the_right_token_every_answer_is_the_same(service: Service) -> None:
    body = json.dumps({"credential": "one"}).encode()
    asked = [
        (method, path, {"Authorization": header} if header else {})
        for method in ("GET", "POST", "PUT", "DELETE", "HEAD")
        for path in (
            "/",
            "/incidents",
            "/incidents/github",
            "/incidents/trufflehog",
            "/incidents/none",
            f"/incidents/{service.run}",
        )
        for header in ("", "Bearer", f"Bearer {secrets.token_hex(20)}", f"Basic {service.secrets['ON_CALL']}")
    ]
    answers = set()
    for method, path, headers in asked:
        service.clock += 60
        answer = service.http.request(method, path, content=body, headers=headers)
        kept = tuple(sorted((name, value) for name, value in answer.headers.items()))
        answers.add((answer.status_code, answer.text if method != "HEAD" else '{"error":"not accepted"}', kept))
    assert len(answers) == 1
    assert answers.pop()[:2] == (401, '{"error":"not accepted"}')
    assert service.started == []


def test_what_is_let_in_learns_of_no_other_run_and_no_other_path(service: Service) -> None:
    for method, path in (("GET", f"/incidents/{uuid4()}"), ("GET", "/incidents/x"), ("GET", "/"), ("PUT", "/incidents")):
        answer = service.http.request(method, path, headers=service.bearer)
        assert (answer.status_code, answer.json()) == (404, {"error": "not found"})


def test_a_source_may_report_at_its_own_path_and_do_nothing_else(service: Service) -> None:
    body = json.dumps({"credential": "one"}).encode()
    token = {"Authorization": f"Bearer {service.secrets['TRUFFLEHOG']}"}
    assert service.post(body, "/incidents", token).status_code == 401
    assert service.post(body, "/incidents/gitleaks", token).status_code == 401
    assert service.http.get(f"/incidents/{service.run}", headers=token).status_code == 401
    assert service.post(b"", "/incidents/trufflehog", service.bearer).status_code == 401, "nor a caller at a source's"


def test_a_signed_request_is_taken_once(service: Service) -> None:
    body = json.dumps({"credential": "one"}).encode()
    headers = signing.own(service.secrets["SIEM"], "POST", "/incidents", body, service.time)
    assert service.post(body, headers=headers).status_code == 202
    assert service.post(body, headers=headers).status_code == 401, "a replay"
    service.time += service.settings.replay_window
    assert service.post(body, headers=headers).status_code == 401, "and later it is too old"
    assert len(service.started) == 1


def test_a_signature_is_of_its_time_method_path_and_body(service: Service) -> None:
    body, secret = json.dumps({"credential": "one"}).encode(), service.secrets["SIEM"]
    window = service.settings.replay_window
    wrong = [
        signing.own(secret, "POST", "/incidents", body, service.time - window),
        signing.own(secret, "POST", "/incidents", body, service.time + window + timedelta(seconds=1)),
        signing.own(secret, "GET", "/incidents", body, service.time),
        signing.own(secret, "POST", "/incidents/x", body, service.time),
        signing.own(secret, "POST", "/incidents", body + b" ", service.time),
        signing.own(secrets.token_hex(20), "POST", "/incidents", body, service.time),
        signing.own(secret, "POST", "/incidents", body, service.time, nonce="short"),
        {**signing.own(secret, "POST", "/incidents", body, service.time), "X-Keyturn-Timestamp": "0"},
    ]
    assert {service.post(body, headers=each).status_code for each in wrong} == {401}
    assert service.started == []
    right = signing.own(secret, "POST", "/incidents", body, service.time)
    assert service.post(body, headers=right).status_code == 202


def test_a_body_is_read_up_to_its_limit(service: Service) -> None:
    large = b" " * 5000
    assert service.post(large).status_code == 413
    assert (
        service.post(
            large, headers=signing.own(service.secrets["SIEM"], "POST", "/incidents", large, service.time)
        ).status_code
        == 401
    )
    assert service.post(large, headers={}).status_code == 401, "of a stranger nothing is read"

    def chunks() -> Any:
        yield from (b" " * 1000 for _ in range(6))

    assert service.http.post("/incidents", content=chunks(), headers=service.bearer).status_code == 413


def test_each_caller_has_a_rate_and_strangers_take_nothing_of_it(service: Service) -> None:
    for _ in range(service.settings.rate_all + 1):
        last = service.post({}, headers={})
    assert last.status_code == 429
    codes = [service.post({"credential": "one"}).status_code for _ in range(service.settings.rate + 1)]
    assert codes == [202] * service.settings.rate + [429]
    service.clock += 3
    assert service.post({"credential": "one"}).status_code == 202


def test_a_secret_that_cannot_be_read_or_is_too_short_lets_nobody_in() -> None:
    service = Service()
    service.secrets["ON_CALL"] = "short"
    assert service.post({"credential": "one"}).status_code == 401
    del service.secrets["SIEM"]
    body = b"{}"
    assert service.post(body, headers=signing.own("", "POST", "/incidents", body, service.time)).status_code == 401


def test_a_secret_that_was_taken_away_lets_in_for_minutes_and_no_longer(service: Service) -> None:
    headers = service.bearer
    assert service.post({"credential": "one"}, headers=headers).status_code == 202
    del service.secrets["ON_CALL"]
    service.clock += 599
    assert service.post({"credential": "one"}, headers=headers).status_code == 202, "its store may be down for a while"
    service.clock += 2
    assert service.post({"credential": "one"}, headers=headers).status_code == 401


# Scanners ----------------------------------------------------------------------------------------------------------------


def alert(action: str = "created", kind: str = "openai_api_key", number: int = 7) -> bytes:
    event = {"action": action, "alert": {"number": number, "secret_type": kind}, "repository": {"full_name": "Org/repo"}}
    return json.dumps(event).encode()


def test_githubs_alert_stands_for_the_credentials_of_its_type(service: Service) -> None:
    for body in (alert(), alert("publicly_leaked"), alert("resolved"), alert(kind="other"), b'{"zen": "Speak."}'):
        answer = service.post(body, "/incidents/github", signing.github(service.secrets["GITHUB"], body))
        assert answer.status_code == 202
    first, second = (subjects for subjects, _ in service.started)
    assert first == second, "both are the same alert, and so the same run"
    assert first[0].credentials == ("one", "two")
    assert service.post(alert(), "/incidents/github", signing.github("wrong", alert())).status_code == 401
    assert len(service.started) == 2


def test_githubs_api_is_asked_for_the_key_where_it_may_be(service: Service) -> None:
    service.at_github = service.stores.keys["six"][Stage.CURRENT]
    body = alert()
    headers = signing.github(service.secrets["GITHUB"], body)
    assert service.post(body, "/incidents/github-asked", headers).status_code == 202
    assert service.asked == ["/repos/Org/repo/secret-scanning/alerts/7"]
    assert names(service) == [[f"key.{fingerprint(service.at_github)}"]]
    service.at_github = None
    assert service.post(body, "/incidents/github-asked", headers).status_code == 503


def test_gitguardians_incident_is_known_by_its_hash_or_its_detector(service: Service) -> None:
    text = service.stores.keys["one"][Stage.CURRENT]
    digest = hashlib.scrypt(text.encode(), salt=b"GitGuardian", n=2048, r=8, p=1, dklen=32).hex()
    for action, hashed in (("incident_triggered", digest), ("incident_triggered", "0" * 64), ("incident_resolved", digest)):
        incident = {"id": 5, "hmsl_hash": hashed, "detector": {"name": "openai"}}
        body = json.dumps({"action": action, "incident": incident}).encode()
        headers = signing.gitguardian(service.secrets["GITGUARDIAN"], body, service.time)
        assert service.post(body, "/incidents/gitguardian", headers).status_code == 202
        assert service.post(body, "/incidents/gitguardian", headers).status_code == 401, "a replay"
    assert names(service)[0] == [f"key.{fingerprint(text)}"]
    assert service.started[1][0][0].credentials == ("six",)
    assert len(service.started) == 2


def test_trufflehogs_lines_and_a_generic_report_name_many_keys(service: Service) -> None:
    ours = [service.stores.keys[name][Stage.CURRENT] for name in ("one", "six")]
    lines = b"\n".join(
        json.dumps({"DetectorName": "OpenAI", "Raw": text, "RawV2": ""}).encode() for text in (*ours, new_key())
    )
    token = {"Authorization": f"Bearer {service.secrets['TRUFFLEHOG']}"}
    answer = service.post(b'{"level": "info-0", "msg": "scanning"}\n' + lines, "/incidents/trufflehog", token)
    assert answer.json()["unknown"] == 1
    token = {"Authorization": f"Bearer {service.secrets['GITLEAKS']}"}
    service.post([{"RuleID": "openai", "Secret": text} for text in ours], "/incidents/gitleaks", token)
    assert [sorted(each) for each in names(service)] == [sorted(f"key.{fingerprint(text)}" for text in ours)] * 2
    nothing = service.post([{"Secret": new_key()}], "/incidents/gitleaks", token)
    assert (nothing.status_code, nothing.json()["runs"]) == (202, [])


# Nothing comes out -------------------------------------------------------------------------------------------------------


def test_a_planted_key_is_in_no_answer_and_no_log(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    planted = [new_key() for _ in range(3)] + [service.stores.keys["one"][Stage.CURRENT]]
    needles = Needles([*planted, *service.secrets.values()])
    answers = []
    for text in planted:
        hook = {"Authorization": f"Bearer {service.secrets['TRUFFLEHOG']}"}
        for body in ({"key": text}, {"credential": text}, {"provider": text}, {text: 1}, {"sha256": text}, {"policy": text}):
            answers.append(service.post(body))
            service.clock += 60
        answers.append(service.post(f'{{"Raw": "{text}"'.encode(), "/incidents/trufflehog", hook))
        answers.append(service.http.get(f"/incidents/{text}?key={text}", headers=service.bearer))
        answers.append(service.post({"key": text}, headers={"Authorization": f"Bearer {text}"}))
        service.clock += 60
    service.fails = RuntimeError(planted[0])
    answers.append(service.post({"key": planted[-1]}))
    assert answers[-1].status_code == 500
    for answer in answers:
        assert needles.count(f"{answer.text} {answer.headers}".encode()) == 0
    assert "a fault of keyturn's: RuntimeError" in caplog.text
    # What httpx, which the test itself sends with, says of an address that the test has put a key into is not ours.
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore")))
    assert needles.count(ours.encode()) == 0
    assert ours
