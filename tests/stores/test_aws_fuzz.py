"""Whatever answers in AWS's place, and whatever stands in a secret: a value that makes sense, or an error of ours."""

from __future__ import annotations

import asyncio
import json
import secrets
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import KeyturnError
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, SecretRef, VersionRef
from keyturn.quiet import hold_vendor_loggers
from keyturn.references import resolver
from keyturn.stores import aws_client, aws_secrets_manager
from keyturn.stores.aws_journal import Journal
from keyturn.stores.aws_secrets_manager import AWSSecretsManager
from tests.hostile import Answer, answers, changed, fuzz, quietly, said, tells
from tests.stores.sense import makes_sense
from tests.wire import Request, Wire

WHOLE, FIELD = SecretRef("aws", "prod/openai"), SecretRef("aws", "prod/bundle", "OPENAI_API_KEY")
ACCESS = "access-" + secrets.token_hex(16)
KEYS = {name: "key-" + secrets.token_hex(12) for name in ("current", "pending", "previous", "new")}
IDS = {name: str(uuid.uuid4()) for name in ("current", "pending", "previous", "journal", "new")}
OURS = (ACCESS, *KEYS.values())


def held(name: str) -> HeldKey:
    return HeldKey(VersionRef(IDS[name], KeyMaterial(KEYS[name]).fingerprint()), KeyMaterial(KEYS[name]))


JOURNAL = Journal(held("current"), held("pending"), held("previous"), {IDS["pending"]: held("pending").version.fingerprint})
BUNDLE = json.dumps({"OPENAI_API_KEY": KEYS["current"], "OTHER": "untouched"})
NAMED = {"ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod", "Name": "prod"}
DESCRIBED = {
    **NAMED,
    "VersionIdsToStages": {
        IDS["current"]: ["AWSCURRENT"],
        IDS["pending"]: ["AWSPENDING"],
        IDS["previous"]: ["AWSPREVIOUS"],
        IDS["journal"]: ["keyturn/field/OPENAI_API_KEY"],
    },
    "Tags": [{"Key": "keyturn:0", "Value": "1.attempt:1:1 ."}, {"Key": "team", "Value": "x"}],
    "ReplicationStatus": [{"Region": "eu-west-1", "Status": "InSync"}],
    "LastChangedDate": 1711471533.1,
    "CreatedDate": 1711471533,
    "RotationEnabled": False,
}


def read(name: str, text: str | None = None) -> dict[str, Any]:
    return {**NAMED, "VersionId": IDS[name], "SecretString": text or KEYS[name], "VersionStages": ["x"], "CreatedDate": 1}


WRITTEN = {**NAMED, "VersionId": IDS["new"], "VersionStages": ["AWSPENDING"]}
REFUSED = {"__type": "ResourceNotFoundException", "message": "Secrets Manager can't find the specified secret."}

Call = Callable[[AWSSecretsManager, SecretRef], Coroutine[Any, Any, Any]]
VERBS: dict[str, Call] = {
    "current": lambda store, secret: store.current(secret),
    "stages": lambda store, secret: store.stages(secret),
    "read": lambda store, secret: store.read(secret, held("pending").version),
    "stage": lambda store, secret: store.stage(secret, KeyMaterial(KEYS["new"]), IDS["new"]),
    "spend": lambda store, secret: store.spend(secret, IDS["new"]),
    "promote": lambda store, secret: store.promote(secret, held("pending").version, held("current").version),
    "bar": lambda store, secret: store.bar(secret, held("previous").version),
    "discard": lambda store, secret: store.discard(secret, held("previous").version),
    "annotate": lambda store, secret: store.annotate(secret, {"attempt": "2", "gone": None}),
    "annotations": lambda store, secret: store.annotations(secret),
    "preflight": lambda store, secret: store.preflight(secret),
}


AWSS = (("content-type", "application/x-amz-json-1.1"),)


class Server:
    """An AWS with one whole secret and one bundle, that answers properly but for what it is told otherwise."""

    def __init__(self, wire: Wire, runner: asyncio.Runner) -> None:
        self.wire, self._runner = wire, runner
        settings = {
            "region": "us-east-1",
            "endpoint_url": wire.url,
            "access_key_id": "env:ACCESS",
            "secret_access_key": "env:ACCESS",
            "replicas": ["eu-west-1"],
            "replica_timeout": "0s",
            "timeout": "5s",
        }
        settings = AWSSecretsManager.Settings.model_validate(settings)  # type: ignore[assignment]
        self.store = AWSSecretsManager(settings, resolver(environ={"ACCESS": ACCESS}))  # type: ignore[arg-type]

    def get(self, verb: str, secret: SecretRef, place: str, answer: Answer | None, key: str = "") -> Any:
        """What the verb gives where this operation is answered so, or its error."""

        def answered(request: Request) -> bytes:
            operation = request.headers.partition("secretsmanager.")[2].partition("\r\n")[0]
            asked = json.loads(request.body)
            name = f"{operation} {asked.get('VersionId', IDS['current'])}" if operation == "GetSecretValue" else operation
            if answer is not None and place == name:
                return answer.raw
            return replace(said(self.proper(operation, asked, secret)), headers=AWSS).raw

        self.wire.answer = answered
        ask = partial(self._runner.run, VERBS[verb](self.store, secret))
        return quietly(ask, key or (answer.key if answer else ""), *OURS)

    def proper(self, operation: str, asked: dict[str, Any], secret: SecretRef) -> dict[str, Any]:
        if operation == "GetSecretValue":
            name = next((name for name in IDS if IDS[name] == asked.get("VersionId")), "current")
            if name == "journal":
                return read(name, JOURNAL.text())
            return read(name, BUNDLE if secret.field else None)
        if operation == "PutSecretValue":
            return {**WRITTEN, "VersionId": asked["ClientRequestToken"], "VersionStages": asked["VersionStages"]}
        known: dict[str, dict[str, Any]] = {"DescribeSecret": DESCRIBED, "UpdateSecretVersionStage": NAMED}
        return known.get(operation, {})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    hold_vendor_loggers()
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner, Wire(lambda request: b"") as wire:
        # What is repeated, by the SDK and by the store, is not tried here, nor are the pauses between.
        patch.setattr(aws_client, "_ATTEMPTS", 1)
        patch.setattr(aws_secrets_manager, "_TURNS", 3)
        yield Server(wire, runner)


READ_CURRENT, READ_JOURNAL = f"GetSecretValue {IDS['current']}", f"GetSecretValue {IDS['journal']}"
GOLDEN: dict[str, Any] = {
    "DescribeSecret": DESCRIBED,
    READ_CURRENT: read("current"),
    READ_JOURNAL: read("journal", JOURNAL.text()),
    f"GetSecretValue {IDS['pending']}": read("pending"),
    "PutSecretValue": WRITTEN,
    "UpdateSecretVersionStage": NAMED,
    "TagResource": {},
    "UntagResource": {},
}


@fuzz(150)
@given(st.sampled_from(sorted(VERBS)), st.sampled_from([WHOLE, FIELD]), st.sampled_from(sorted(GOLDEN)), st.data())
def test_a_verb_gives_what_makes_sense_or_an_error_in_our_words(
    server: Server, verb: str, secret: SecretRef, place: str, data: st.DataObject
) -> None:
    golden, status = (GOLDEN[place], 200) if data.draw(st.integers(0, 3)) else (REFUSED, 400)
    answer = data.draw(answers(golden, status))
    found = server.get(verb, secret, place, answer)
    if not isinstance(found, KeyturnError):
        makes_sense(verb, found)
        assert not answer.key or not tells(repr(found), answer.key) or verb == "annotations"


@fuzz(40)
@given(answers(NAMED))
def test_a_promote_is_done_where_aws_says_so(server: Server, answer: Answer) -> None:
    found = server.get("promote", WHOLE, "UpdateSecretVersionStage", answer)
    if not isinstance(found, KeyturnError):
        assert 200 <= answer.status < 300
        if answer.document is not None:
            assert answer.document["ARN"]


@fuzz(80)
@given(changed(json.loads(JOURNAL.text())))
def test_a_journal_changed_by_hand_is_read_or_none(server: Server, wrong: Any) -> None:
    text = json.dumps(wrong.document) if _can_be_written(wrong.document) else "{}"
    found = Journal.parse(text)
    if found is None:
        return
    keys = [key for key in (found.base, found.pending, found.previous) if key is not None]
    assert all(isinstance(key.version.id, str) and isinstance(key.material, KeyMaterial) for key in keys)
    assert all(isinstance(each, str) for pair in found.issued.items() for each in pair)
    assert Journal.parse(found.text()) is not None


BUNDLES = {
    "none": "",
    "open": "[",
    "space": " " * 10,
    "half": "\ud800",
    "list": "[" * 50_000,
    "object": '{"a":' * 50_000,
    "twice": f'{{"OPENAI_API_KEY": "first", {BUNDLE[1:]}',
    "number": BUNDLE[:-1] + ', "x": ' + "9" * 5000 + "}",
}


@fuzz(40)
@given(changed(json.loads(BUNDLE)), st.sampled_from(["changed", "changed", *BUNDLES]))
def test_whatever_a_bundle_holds_is_a_key_or_an_error(server: Server, wrong: Any, form: str) -> None:
    bundle = BUNDLES.get(form) or (json.dumps(wrong.document) if _can_be_written(wrong.document) else "{}")
    for verb in ("current", "promote", "preflight"):
        found = server.get(verb, FIELD, READ_CURRENT, said(read("current", bundle)), wrong.key)
        if verb == "current" and not isinstance(found, KeyturnError):
            assert isinstance(json.loads(bundle)["OPENAI_API_KEY"], str)


def _can_be_written(document: Any) -> bool:
    try:
        json.dumps(document)
    except ValueError:  # a number of more digits than Python writes
        return False
    return True


NAMES = ["keyturn:0", "keyturn:1", "keyturn:00", "keyturn:\u0663", "keyturn:-1", "keyturn:" + "9" * 110]
VALUES = ["1.attempt:1:1 .", "\u0663.x", "9" * 5000 + ".", "2.a:999:x.", ".", "", "1", "1."]
TAGS = st.fixed_dictionaries(
    {"Key": st.sampled_from(NAMES) | st.text(max_size=8).map("keyturn:".__add__)},
    optional={"Value": st.sampled_from(VALUES) | st.text(max_size=20)},
)


@fuzz(40)
@given(st.lists(TAGS, max_size=4))
def test_tags_changed_by_hand_are_notes_or_nothing(server: Server, tags: list[dict[str, str]]) -> None:
    answer = said({**DESCRIBED, "Tags": tags})
    for verb in ("annotations", "annotate", "preflight"):
        found = server.get(verb, WHOLE, "DescribeSecret", answer)
        assert not isinstance(found, KeyturnError)
        makes_sense(verb, found)
