"""The store of Kubernetes Secrets tells of changes by a watch: on the double, and on servers that do all that goes wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import threading
from collections.abc import Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from keyturn.errors import DeniedError, KeyturnError, MisconfiguredError
from keyturn.model import SecretRef, VersionRef
from keyturn.references import resolver
from keyturn.stores import kubernetes_changes
from keyturn.stores.kubernetes_rules import Who, rules
from keyturn.stores.kubernetes_secret import KubernetesSecret
from keyturn.testing.kubernetes_double import Kind, KubernetesDouble
from keyturn.testing.store_scene import new_key, new_token
from tests.delivery.waiting import until_true
from tests.kubernetes.test_client import operator_over_tls, own_certificate
from tests.stores.kubernetes_scene import SPACE, Operator, store_of
from tests.wire import Request, Streams

SOON = 30.0  # seconds, on a machine however busy
STILL = 0.7  # seconds
WATCHING = "keyturn-kubernetes-watch"


@pytest.fixture(scope="module")
def server() -> Iterator[KubernetesDouble]:
    with KubernetesDouble(namespaces=[SPACE]) as running:
        yield running


@pytest.fixture
def double(server: KubernetesDouble) -> Iterator[KubernetesDouble]:
    yield server
    server.heal()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_changes, "_FIRST_PAUSE", 0.05)
    monkeypatch.setattr(kubernetes_changes, "_LONGEST_PAUSE", 0.2)


@pytest.fixture
def secret(double: KubernetesDouble) -> SecretRef:
    found = SecretRef("k8s", f"keys-{secrets.token_hex(5)}", "A_KEY")
    Operator.of(double).put(found.path, {"A_KEY": new_key().reveal(), "B_KEY": "b"})
    return found


def turn(double: KubernetesDouble, secret: SecretRef) -> None:
    Operator.of(double).set_field(secret.path, secret.field or "key", new_key().reveal())


async def now(store: KubernetesSecret, secret: SecretRef) -> VersionRef:
    return (await store.current(secret)).version


async def listening(double: KubernetesDouble, store: KubernetesSecret, secret: SecretRef) -> asyncio.Task[None]:
    """Who waits for another value than the one that is there; the watch has begun."""
    since, calls = await now(store, secret), double.calls["watch secrets"]
    task = asyncio.create_task(store.changed(secret, since))
    await watched(double, calls + 1)
    await stays(task)
    return task


async def watched(double: KubernetesDouble, calls: int) -> None:
    await asyncio.to_thread(until_true, lambda: double.calls["watch secrets"] >= calls)


async def comes(task: Coroutine[Any, Any, None] | asyncio.Task[None]) -> None:
    await asyncio.wait_for(task, SOON)


async def stays(task: asyncio.Task[None]) -> None:
    await asyncio.wait({task}, timeout=STILL)
    assert not task.done()


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# On the double.


async def test_a_change_is_told_and_what_is_another_value_already_at_once(
    double: KubernetesDouble, secret: SecretRef
) -> None:
    store = store_of(double)
    old, task = await now(store, secret), await listening(double, store, secret)
    turn(double, secret)
    await comes(task)
    await comes(store.changed(secret, old))


async def test_a_promote_is_told(double: KubernetesDouble, secret: SecretRef) -> None:
    store = store_of(double)
    task, old = await listening(double, store, secret), await now(store, secret)
    new = await store.stage(secret, new_key(), new_token())
    await stays(task)
    await store.promote(secret, new, old)
    await comes(task)


async def test_other_keys_other_secrets_and_a_touch_are_no_news(double: KubernetesDouble, secret: SecretRef) -> None:
    task, operator = await listening(double, store_of(double), secret), Operator.of(double)
    operator.set_field(secret.path, "B_KEY", "c")
    operator.core.patch_namespaced_secret(secret.path, SPACE, {"metadata": {"annotations": {"a": "b"}}})
    operator.put(f"{secret.path}-other", {"A_KEY": new_key().reveal()})
    await stays(task)
    await end(task)


async def test_a_secret_that_is_gone_or_holds_no_key_is_waited_for(double: KubernetesDouble, secret: SecretRef) -> None:
    store, operator = store_of(double), Operator.of(double)
    old, task = await now(store, secret), await listening(double, store, secret)
    operator.set_field(secret.path, "A_KEY", b"\xff\xfe")
    operator.put(secret.path, {"B_KEY": "b"})
    operator.delete(secret.path)
    await stays(task)
    await end(task)
    task = asyncio.create_task(store.changed(secret, old))  # where it is gone already
    await stays(task)
    operator.put(secret.path, {"A_KEY": new_key().reveal()})
    await comes(task)


async def test_a_change_between_the_read_and_the_watch_is_not_lost(double: KubernetesDouble, secret: SecretRef) -> None:
    store = store_of(double)
    old = await now(store, secret)

    def somebody(call: Any) -> None:
        if call.verb == "watch":
            double.before = None
            turn(double, secret)

    double.before = somebody
    await comes(store.changed(secret, old))


async def test_a_change_between_two_watches_is_not_lost(
    double: KubernetesDouble, secret: SecretRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ends by itself; then somebody acts, and the server forgets what happened."""
    monkeypatch.setattr(kubernetes_changes, "SECONDS", 1)
    store = store_of(double)
    task = await listening(double, store, secret)

    def somebody(call: Any) -> None:
        if call.verb == "watch":
            double.before = None
            turn(double, secret)
            double.cluster.forget()

    double.before = somebody
    await comes(task)


@pytest.mark.parametrize(
    "kind", [Kind.THROTTLED, Kind.CROWDED, Kind.FAILED, Kind.UNAVAILABLE, Kind.TIMED_OUT, Kind.RESET, Kind.LOST]
)
async def test_an_outage_is_waited_for(kind: Kind, double: KubernetesDouble, secret: SecretRef) -> None:
    store = store_of(double)
    old = await now(store, secret)
    double.calls.clear()
    double.inject("watch secrets", kind, times=2)
    task = asyncio.create_task(store.changed(secret, old))
    await watched(double, 3)
    turn(double, secret)
    await comes(task)


async def test_a_server_that_does_not_begin_is_given_up_and_asked_again(double: KubernetesDouble, secret: SecretRef) -> None:
    store = store_of(double, timeout="1s")
    old = await now(store, secret)
    double.inject("watch secrets", Kind.SLOW, seconds=60)
    task = asyncio.create_task(store.changed(secret, old))
    await watched(double, double.calls["watch secrets"] + 2)
    turn(double, secret)
    await comes(task)


async def test_a_token_that_is_refused_is_read_anew_once(double: KubernetesDouble, secret: SecretRef) -> None:
    name, its = f"ring-{secrets.token_hex(4)}", rules([secret], Who.PROXY, namespace=SPACE, watches=True)[SPACE]
    environ = {"TOKEN": double.account(name, its, namespace=SPACE)}
    settings = KubernetesSecret.Settings.model_validate({"server": double.url, "token": "env:TOKEN", "namespace": SPACE})
    store = KubernetesSecret(settings, resolver(environ=environ))
    task = await listening(double, store, secret)
    await end(task)
    since = await now(store, secret)
    double.access.forget(environ["TOKEN"])
    environ["TOKEN"] = double.access.add_account(SPACE, name)
    task = asyncio.create_task(store.changed(secret, since))
    await stays(task)
    turn(double, secret)
    await comes(task)
    double.access.forget(environ["TOKEN"])
    with pytest.raises(DeniedError, match="401"):
        await comes(store.changed(secret, since))


async def test_without_the_permission_it_is_told_which_and_reading_goes_on(
    double: KubernetesDouble, secret: SecretRef
) -> None:
    its = rules([secret], Who.PROXY, namespace=SPACE)[SPACE]
    store = store_of(double, double.account(f"ring-{secrets.token_hex(4)}", its, namespace=SPACE))
    since = await now(store, secret)
    with pytest.raises(DeniedError) as caught:
        await comes(store.changed(secret, since))
    assert f"resourceNames: [{secret.path}], verbs: [watch]" in caught.value.remedy
    assert await now(store, secret) == since


async def test_watch_on_that_one_name_is_enough_and_shows_no_other(double: KubernetesDouble, secret: SecretRef) -> None:
    its = [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret.path], "verbs": ["watch"]}]
    store = store_of(double, double.account(f"ring-{secrets.token_hex(4)}", its, namespace=SPACE))
    task = asyncio.create_task(store.changed(secret, await now(store_of(double), secret)))
    await stays(task)
    turn(double, secret)
    await comes(task)
    with pytest.raises(DeniedError):
        await comes(store.changed(SecretRef("k8s", f"{secret.path}-other", "A_KEY"), VersionRef("1", "f")))


async def test_who_stops_waiting_leaves_no_thread_and_no_connection(tmp_path: Path, secret: SecretRef) -> None:
    """Over TLS: that is another way to shut a connection down."""
    certificate = own_certificate(tmp_path)
    with KubernetesDouble(namespaces=[SPACE], certificate=certificate) as running:
        operator_over_tls(running, certificate[0]).put(secret.path, {"A_KEY": new_key().reveal()})
        store = store_of(running, ca_file=certificate[0])
        tasks = [await listening(running, store, secret) for _ in range(3)]
        there = [each for each in threading.enumerate() if each.name == WATCHING]
        assert len(there) == 3
        for task in tasks:
            await end(task)
        for thread in there:
            await asyncio.to_thread(thread.join, 10)
        assert not any(thread.is_alive() for thread in there)
        assert await now(store, secret)
        await store.aclose()


# On servers that do what the double does not. `A` is the value that is known, `B` another one.

A, B = new_key(), new_key()
KEYS = SecretRef("k8s", "keys", "A_KEY")
SINCE = VersionRef("1", A.fingerprint())
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(text), text)


def line(event: str, key: Any = None, name: str = "keys", **more: Any) -> bytes:
    data = {} if key is None else {"A_KEY": base64.b64encode(key.reveal().encode()).decode()}
    about = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name, "resourceVersion": "7"}, "data": data, **more}
    return json.dumps({"type": event, "object": about}).encode() + b"\n"


def status(code: Any, reason: str) -> bytes:
    about = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "SECRET WORDS", "reason": reason}
    return json.dumps({"type": "ERROR", "object": {**about, "code": code}}).encode() + b"\n"


def bookmark() -> bytes:
    about = {"kind": "Secret", "apiVersion": "v1", "metadata": {"resourceVersion": "99"}}
    return json.dumps({"type": "BOOKMARK", "object": about}).encode() + b"\n"


@pytest.fixture
def streams() -> Iterator[Streams]:
    """Each connection is sent the next of `answers`; a watch when they are over says B at once."""
    answers: list[Iterable[bytes]] = []

    def serve(request: Request) -> Iterable[bytes]:
        return answers.pop(0) if answers else [HEAD, chunk(line("ADDED", B)), Streams.HOLD]

    with Streams(serve) as running:
        running.answers = answers  # type: ignore[attr-defined]
        yield running


def listener(streams: Streams, *answers: Iterable[bytes], **settings: Any) -> asyncio.Task[None]:
    streams.answers.extend(answers)  # type: ignore[attr-defined]
    made = {"server": streams.url, "token": "env:TOKEN", "namespace": SPACE, **settings}
    store = KubernetesSecret(KubernetesSecret.Settings.model_validate(made), resolver(environ={"TOKEN": "x"}))
    return asyncio.create_task(store.changed(KEYS, SINCE))


async def test_what_is_asked_for(streams: Streams) -> None:
    await comes(listener(streams))
    asked = urlsplit(streams.requests[0].target)
    assert (streams.requests[0].method, asked.path) == ("GET", f"/api/v1/namespaces/{SPACE}/secrets")
    assert parse_qs(asked.query) == {
        "watch": ["true"],
        "fieldSelector": ["metadata.name=keys"],
        "timeoutSeconds": ["120"],
    }


async def test_an_event_is_read_however_it_is_cut_into_pieces(streams: Streams) -> None:
    text = line("ADDED", A) + bookmark() + line("MODIFIED", B)
    await comes(listener(streams, [HEAD, *(chunk(text[at : at + 7]) for at in range(0, len(text), 7)), Streams.HOLD]))
    assert len(streams.requests) == 1


@pytest.mark.parametrize("head", [HEAD, UNTIL_CLOSED], ids=["chunked", "until closed"])
async def test_an_event_is_told_while_the_answer_goes_on(head: bytes, streams: Streams) -> None:
    text = line("ADDED", B)
    await comes(listener(streams, [head, chunk(text) if head == HEAD else text, Streams.HOLD]))
    assert len(streams.requests) == 1
    assert await asyncio.to_thread(streams.gone.acquire, timeout=10), "the connection is let go of"


@pytest.mark.parametrize(
    "parts",
    [
        [END],  # at once, as a server that is being restarted
        [chunk(line("ADDED", A)), END],
        [chunk(line("ADDED", A))],  # and the connection is closed
        [chunk(line("ADDED", A)), chunk(b'{"type": "MODIFIED", "obj')],
        [b"5\r\n{"],
        [chunk(line("ADDED", A)), chunk(status(410, "Expired"))],
        [chunk(status(500, "InternalError"))],
        [chunk(status(429, "TooManyRequests"))],
        [chunk(line("ADDED", A)), chunk(line("DELETED", A)), END],
        [chunk(bookmark()), END],
    ],
    ids=["at once", "in order", "closed", "cut in a line", "cut in a chunk", "410", "500", "429", "deleted", "bookmark"],
)
async def test_a_watch_that_ends_is_begun_anew(parts: list[bytes], streams: Streams) -> None:
    await comes(listener(streams, [HEAD, *parts], [HEAD, *parts]))
    assert len(streams.requests) == 3


async def test_a_watch_that_is_refused_as_expired_is_begun_anew(streams: Streams) -> None:
    body = json.loads(status(410, "Expired"))["object"]
    text = json.dumps(body).encode()
    await comes(listener(streams, [b"HTTP/1.1 410 Gone\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)]))
    assert len(streams.requests) == 2


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([chunk(status(403, "Forbidden"))], DeniedError),
        ([chunk(status(401, "Unauthorized"))], DeniedError),
        ([chunk(status(404, "NotFound"))], MisconfiguredError),
        ([chunk(status(200, "Fine"))], MisconfiguredError),
        ([chunk(status("410", "Expired"))], MisconfiguredError),
        ([chunk(b"<html>log in</html>\n"), Streams.HOLD], MisconfiguredError),
        ([chunk(b"<html>log in</html>"), END], MisconfiguredError),
        ([chunk(b"[]\n")], MisconfiguredError),
        ([chunk(b'{"type": 7, "object": {}}\n')], MisconfiguredError),
        ([chunk(b'{"type": "ADDED", "object": "SECRET WORDS"}\n')], MisconfiguredError),
        ([chunk(line("ADDED", B, name="another"))], MisconfiguredError),
        ([chunk(line("ADDED", B, kind="ConfigMap"))], MisconfiguredError),
        ([chunk(line("ADDED", data={"A_KEY": 7}))], MisconfiguredError),
    ],
)
async def test_what_no_waiting_mends_is_told_in_our_words(
    parts: list[bytes], error: type[KeyturnError], streams: Streams
) -> None:
    with pytest.raises(error) as caught:
        await comes(listener(streams, [HEAD, *parts], [HEAD, *parts]))
    assert "SECRET WORDS" not in str(caught.value)
    assert B.reveal() not in str(caught.value)


@pytest.mark.parametrize("code", [404, 302, 400])
async def test_refusals_are_told_as_of_any_request(code: int, streams: Streams) -> None:
    with pytest.raises(MisconfiguredError):
        await comes(listener(streams, [b"HTTP/1.1 %d X\r\nLocation: /\r\nContent-Length: 2\r\n\r\n{}" % code]))


async def test_an_endless_line_is_not_kept(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.kubernetes.stream._LONGEST_LINE", 100_000)
    with pytest.raises(MisconfiguredError):
        await comes(listener(streams, [HEAD, *[chunk(b"x" * 10_000)] * 20, Streams.HOLD]))


@pytest.mark.parametrize("parts", [[], [chunk(line("ADDED", A))]], ids=["never speaks", "falls silent"])
async def test_a_server_that_hangs_is_given_up(
    parts: list[bytes], streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_changes, "SECONDS", 1)
    monkeypatch.setattr(kubernetes_changes, "_MORE", 0.5)
    await comes(listener(streams, [HEAD, *parts, Streams.HOLD]))
    assert len(streams.requests) == 2


async def test_a_quiet_watch_outlives_the_timeout_of_other_requests(streams: Streams) -> None:
    task = listener(streams, [HEAD, chunk(line("ADDED", A)), Streams.HOLD], timeout="1s")
    await asyncio.sleep(2.5)
    assert len(streams.requests) == 1
    await end(task)
    assert await asyncio.to_thread(streams.gone.acquire, timeout=10), "the connection is let go of"


async def test_who_stops_before_the_answer_begins_leaves_nothing(streams: Streams) -> None:
    begun = threading.Event()

    def late() -> Iterator[bytes]:
        begun.wait(30)
        yield HEAD
        yield chunk(line("ADDED", A))
        yield Streams.HOLD

    task = listener(streams, late())
    await asyncio.to_thread(until_true, lambda: streams.requests)
    await end(task)
    begun.set()
    assert await asyncio.to_thread(streams.gone.acquire, timeout=10), "the connection is let go of"


async def test_watches_that_end_at_once_are_no_storm(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_changes, "_FIRST_PAUSE", 0.2)
    monkeypatch.setattr(kubernetes_changes, "_LONGEST_PAUSE", 60.0)
    task = listener(streams, *[[HEAD, END]] * 500)
    await asyncio.sleep(2)
    assert 1 < len(streams.requests) < 8
    await end(task)
