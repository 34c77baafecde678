"""The lean reader and the full path read the same out of a store, whatever answers in its place."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.commands import launch
from keyturn.delivery.become import Loaded
from keyturn.delivery.environment import inherited
from keyturn.delivery.lean import start
from keyturn.delivery.lean.call import Call, launcher_call
from keyturn.delivery.lean.declined import Declined
from keyturn.errors import KeyturnError
from keyturn.testing.aws_double import AWSDouble
from keyturn.testing.openbao import OpenBao
from keyturn.testing.wire_faults import Hostile, hostile
from tests.delivery.lean.conftest import Scene, aws_scene, vault_scene, with_a_pair
from tests.hostile import changed, fuzz
from tests.wire import Request, Wire

real = pytest.mark.real

SCENES: dict[str, Callable[[OpenBao, str, Path], Scene]] = {
    "token": lambda bao, url, folder: vault_scene(bao, folder),
    "token in a file": lambda bao, url, folder: in_a_file(
        vault_scene(bao, folder, f"{{method: token, token: 'file:{folder}/t'}}")
    ),
    "approle": lambda bao, url, folder: vault_scene(
        bao, folder, "{method: approle, role_id: env:VAULT_ROLE_ID, secret_id: env:VAULT_SECRET_ID}"
    ),
    "aws": lambda bao, url, folder: aws_scene(url, folder),
    "aws with a pair": lambda bao, url, folder: with_a_pair(aws_scene(url, folder), url),
    "aws with a session": lambda bao, url, folder: aws_scene(url, folder, session=True),
}


def in_a_file(scene: Scene) -> Scene:
    (scene.config.parent / "t").write_text(scene.variables.pop("VAULT_TOKEN") + "\n")
    return scene


def given_to(monkeypatch: pytest.MonkeyPatch, scene: Scene) -> dict[str, str]:
    """This process has the scene's environment, and nothing else."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in scene.environment.items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


def lean(proxy: str = "local") -> tuple[list[Loaded], dict[str, str]]:
    plan, keys = start.read(Call(None, proxy, None, ["true"]))
    return keys, inherited(os.environ, plan.own)


def full(proxy: str = "local") -> tuple[list[Loaded], dict[str, str]]:
    keys, own = asyncio.run(launch._read(proxy, timedelta(0), None))
    return keys, inherited(os.environ, own)


@real
@pytest.mark.parametrize("name", SCENES)
def test_both_read_the_same(
    name: str, bao: OpenBao, double: tuple[AWSDouble, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = SCENES[name](bao, double[1], tmp_path)
    given_to(monkeypatch, scene)
    keys, environment = lean()
    assert {key.names.key: key.material.reveal() for key in keys} == scene.keys
    assert (keys, environment) == full()
    used = {variable for variable in scene.variables if f"env:{variable}" in scene.config.read_text()}
    assert "LITELLM_MASTER_KEY" in environment and not {"OPENAI_ADMIN_KEY", *used} & set(environment)


@real
def test_the_usual_variables_of_aws_are_used_and_any_other_is_left_to_the_sdk(
    double: tuple[AWSDouble, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = aws_scene(double[1], tmp_path)
    text = scene.config.read_text()
    scene.config.write_text(text.replace(", access_key_id: env:OUR_KEY, secret_access_key: env:OUR_SECRET", ""))
    given_to(monkeypatch, scene)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id" + secrets.token_hex(8))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secrets.token_hex(16))
    assert lean() == full()
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "AWS_USE_FIPS_ENDPOINT", "HTTPS_PROXY", "all_proxy"):
        with monkeypatch.context() as context, pytest.raises(Declined):
            context.setenv(name, "x")
            lean()
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[default]\n")
    with pytest.raises(Declined):
        lean()


@real
def test_what_is_not_plainly_there_is_left(bao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = vault_scene(bao, tmp_path)
    write = bao.root.secrets.kv.v2.create_or_update_secret
    given_to(monkeypatch, scene)
    for document in ({"key": ""}, {"key": 7}, {"key": "a\nb"}, {"other": "x"}, {"key": " a"}, {}):
        write("litellm/whole", document)
        with pytest.raises((Declined, ValueError)):
            lean()
        with pytest.raises(KeyturnError):
            full()
    bao.root.secrets.kv.v2.delete_latest_version_of_secret("litellm/whole")
    with pytest.raises(Declined):
        lean()
    monkeypatch.setenv("VAULT_TOKEN", "s." + secrets.token_hex(8))
    with pytest.raises(Declined):
        lean()


# What may answer in its place -------------------------------------------------------------------------------------------

KEY = "a-key-" + secrets.token_hex(16)
VAULT: dict[str, Any] = {
    "request_id": "x",
    "data": {"data": {"OPENAI_API_KEY": KEY, "key": KEY}, "metadata": {"version": 3, "destroyed": False}},
}
AWS: dict[str, Any] = {
    "ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf",
    "Name": "a",
    "VersionId": "0b9a7c1e-6f0e-5d0f-8a59-3f0c51c5d3b7",
    "SecretString": json.dumps({"OPENAI_API_KEY": KEY}),
    "VersionStages": ["AWSCURRENT"],
}
STORES = {
    "vault": (VAULT, '{{kind: vault_kv2, address: "{url}", auth: {{method: token, token: env:TOKEN}}}}'),
    "aws": (
        AWS,
        '{{kind: aws_secrets_manager, region: us-east-1, endpoint_url: "{url}", access_key_id: env:TOKEN, '
        "secret_access_key: env:TOKEN}}",
    ),
}


def answer(body: bytes, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    told = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    return f"{told}{headers}Connection: close\r\n\r\n".encode() + body


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Configures a store whose server answers with these bytes; gives what the lean reader and the full path make of it."""

    def ask(kind: str, content: bytes) -> tuple[Any, Any]:
        def respond(request: Request) -> bytes:
            return content

        with Wire(respond) as wire:
            config = _one_credential(STORES[kind][1].format(url=wire.url))
            (tmp_path / "keyturn.yaml").write_text(config)
            scene = Scene(tmp_path / "keyturn.yaml", {"TOKEN": "t" + secrets.token_hex(8), "HOME": str(tmp_path)})
            with monkeypatch.context() as context:
                given_to(context, scene)
                found = start._within(5, lean)
                if found is None:
                    return None, None
                return found, full()

    return ask


def _one_credential(store: str) -> str:
    from tests.delivery.lean.conftest import CONFIG

    text = CONFIG.format(store=store)
    return text[: text.index("  openai-whole:")]


@pytest.mark.parametrize("kind", STORES)
def test_a_good_answer_is_read(kind: str, stranger: Any) -> None:
    found, wanted = stranger(kind, answer(json.dumps(STORES[kind][0]).encode()))
    assert found is not None and found == wanted
    assert found[0][0].material.reveal() == KEY


GOOD_BODY = {kind: json.dumps(document).encode() for kind, (document, _) in STORES.items()}


def _instead(kind: Hostile, body: bytes) -> bytes:
    return answer(hostile(kind).body)


REFUSALS = (201, 204, 206, 301, 400, 403, 404, 429, 500, 503)
WRONG: dict[str, Callable[[bytes], bytes]] = {
    **{f"status {status}": partial(answer, status=f"{status} X") for status in REFUSALS},
    "a redirect": lambda body: answer(body, "302 Found", "Location: http://127.0.0.1:1/\r\n"),
    "cut": lambda body: answer(body[:-20], length=len(body)),
    "longer than it says": lambda body: answer(body, length=len(body) - 5),
    "not all of it": lambda body: answer(body, length=len(body) + 5),
    "compressed": lambda body: answer(body, headers="Content-Encoding: gzip\r\n"),
    "no HTTP": lambda body: body,
    "nothing": lambda body: b"",
    "a list": lambda body: answer(b"[" + body + b"]"),
    "a name twice": lambda body: answer(body[:-1] + b', "data": {}, "ARN": "x", "data": {}, "ARN": "y"}'),
    "errors beside it": lambda body: answer(body[:-1] + b', "errors": ["no"], "VersionId": 7}'),
    "headers without end": lambda body: b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n" + body,
    **{f"body {each}": partial(_instead, each) for each in Hostile},
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("kind", STORES)
def test_a_wrong_answer_is_left(kind: str, what: str, stranger: Any) -> None:
    found, _ = stranger(kind, WRONG[what](GOOD_BODY[kind]))
    assert found is None


@fuzz(120)
@given(
    st.sampled_from(sorted(STORES)).flatmap(
        lambda kind: st.tuples(st.just(kind), changed(copy.deepcopy(STORES[kind][0]), most=2))
    )
)
def test_a_changed_answer_is_left_or_means_the_same(stranger: Any, drawn: Any) -> None:
    kind, wrong = drawn
    try:
        body = json.dumps(wrong.document).encode()
    except ValueError:
        return
    found, wanted = stranger(kind, answer(body))
    assert found == wanted


def test_a_store_that_never_answers_is_left_and_no_timer_outlives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / "keyturn.yaml").write_text(_one_credential(STORES["vault"][1].format(url=url)))
        given_to(monkeypatch, Scene(tmp_path / "keyturn.yaml", {"TOKEN": "t", "HOME": str(tmp_path)}))
        before = signal.getsignal(signal.SIGALRM)
        assert start._within(0.3, lean) is None
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_timer_that_was_not_needed_is_off() -> None:
    before = signal.getsignal(signal.SIGALRM)
    assert start._within(600, lambda: "read") == "read"
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_secret_in_a_pipe_is_left_whole_for_the_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    store = f'{{kind: vault_kv2, address: "http://127.0.0.1:1", auth: {{method: token, token: "file:{tmp_path}/pipe"}}}}'
    (tmp_path / "keyturn.yaml").write_text(_one_credential(store))
    given_to(monkeypatch, Scene(tmp_path / "keyturn.yaml", {}))
    reader = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        os.write(reader, b"token")
        with pytest.raises(Declined):
            lean()
        assert os.read(reader, 10) == b"token"
    finally:
        os.close(reader)


# The words of a command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("exec --proxy a -- b c", Call(None, "a", None, ["b", "c"])),
        ("exec --proxy=a --start-timeout 5s --state=f -- b", Call(None, "a", "f", ["b"])),
        ("--config x exec --proxy a -- b -- --control", Call("x", "a", None, ["b", "--", "--control"])),
        ("exec --proxy a --control http://127.0.0.1:1 -- b", None),
        ("exec --proxy a --cache f --cache-key env:X -- b", None),
        ("exec --proxy a --start-timeout never -- b", None),
        ("exec --proxy a --proxy b -- c", None),
        ("exec --proxy a b", None),
        ("exec --proxy a --", None),
        ("exec --proxy -- b", None),
        ("exec --proxy -x -- b", None),
        ("exec -- b", None),
        ("exec --help", None),
        ("env --proxy a", None),
        ("--config exec --proxy a -- b", None),
        ("rotate exec", None),
    ],
)
def test_only_a_plain_launcher_call_is_taken(words: str, call: Call | None) -> None:
    assert launcher_call(words.split()) == call


# What it is for ---------------------------------------------------------------------------------------------------------


@real
@pytest.mark.parametrize("name", ["approle", "aws"])
def test_nothing_heavy_is_imported(name: str, bao: OpenBao, double: tuple[AWSDouble, str], tmp_path: Path) -> None:
    scene = SCENES[name](bao, double[1], tmp_path)
    code = (
        "import sys, keyturn.entry\n"
        "from keyturn.delivery.lean import start\n"
        "from keyturn.delivery.lean.call import launcher_call\n"
        "found = start.read(launcher_call(['exec', '--proxy', 'local', '--', 'true']))\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=scene.environment, capture_output=True, text=True, check=True)
    heavy = {"typer", "pydantic", "asyncio", "hvac", "requests", "httpx", "boto3", "botocore", "logging", "cryptography"}
    assert not heavy & set(done.stdout.split())
