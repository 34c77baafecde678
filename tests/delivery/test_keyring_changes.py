"""A key ring over real stores sees a new key long before its interval is over: in an event loop, and in a thread."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.delivery.keyring import Freshness, KeyRing
from keyturn.model import SecretRef
from keyturn.stores.kubernetes_rules import Who, rules
from keyturn.testing.kubernetes_double import Kind, KubernetesDouble
from keyturn.testing.store_scene import new_key
from tests.delivery.waiting import until_true
from tests.stores.kubernetes_scene import SPACE, Operator

NAME = "OPENAI_API_KEY"
HOURLY = Freshness(interval=timedelta(hours=1), floor=timedelta(milliseconds=50))
SOON = 30.0  # seconds, on a machine however busy

CONFIG = """
providers:
  org: {{kind: openai, admin_key: env:ADMIN, project: proj_abc, service_account: svc_acct_abc}}
stores:
  here: {store}
proxies:
  embedded: {{kind: process, members: ["http://127.0.0.1:4001"], master_key: env:MASTER}}
credentials:
  openai-prod:
    provider: org
    secrets: [{{store: here, path: {path}, field: OPENAI_API_KEY}}]
    canary: {{proxy: embedded, model: m}}
    proxies: [embedded]
"""


@dataclass
class Scene:
    """keyturn.yaml, who turns the key by hand, and how many listen now."""

    config: Path
    turn: Callable[[], str]
    listeners: Callable[[], int]

    def ring(self, freshness: Freshness = HOURLY) -> KeyRing:
        return KeyRing.from_config(self.config, freshness=freshness)


@pytest.fixture
def double() -> Iterator[KubernetesDouble]:
    with KubernetesDouble(namespaces=[SPACE]) as running:
        yield running


@pytest.fixture(params=["dotenv", "kubernetes_secret"])
def scene(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    if request.param == "dotenv":
        return of_files(tmp_path)
    return of_secrets(request.getfixturevalue("double"), tmp_path, monkeypatch)


def of_files(tmp_path: Path) -> Scene:
    file = tmp_path / "litellm.env"

    def turn() -> str:
        key = new_key().reveal()
        file.with_suffix(".new").write_text(f"{NAME}={key}\n")
        file.with_suffix(".new").rename(file)
        return key

    turn()
    (tmp_path / "keyturn.yaml").write_text(CONFIG.format(store=f"{{kind: dotenv, folder: {tmp_path}}}", path="litellm.env"))
    return Scene(tmp_path / "keyturn.yaml", turn, lambda: threads("keyturn-file-changes"))


def of_secrets(double: KubernetesDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, watches: bool = True) -> Scene:
    name = f"keys-{secrets.token_hex(4)}"

    def turn() -> str:
        key = new_key().reveal()
        Operator.of(double).put(name, {NAME: key})
        return key

    turn()
    its = rules([SecretRef("here", name, NAME)], Who.PROXY, namespace=SPACE, watches=watches)[SPACE]
    monkeypatch.setenv("KUBE_TOKEN", double.account("ring", its, namespace=SPACE))
    store = f"{{kind: kubernetes_secret, namespace: {SPACE}, server: '{double.url}', token: env:KUBE_TOKEN}}"
    (tmp_path / "keyturn.yaml").write_text(CONFIG.format(store=store, path=name))
    return Scene(tmp_path / "keyturn.yaml", turn, lambda: threads("keyturn-kubernetes-watch"))


def until_gives(ring: KeyRing, key: str) -> None:
    until_true(lambda: ring.get(NAME) == key, SOON)


def threads(name: str) -> int:
    return sum(each.name == name for each in threading.enumerate())


def test_a_change_is_seen_by_a_ring_in_a_thread(scene: Scene) -> None:
    with scene.ring() as ring:
        for _ in range(3):
            key = scene.turn()
            until_gives(ring, key)
        until_true(scene.listeners)
    until_true(lambda: scene.listeners() == 0)


async def test_a_change_is_seen_by_a_ring_in_an_event_loop(scene: Scene) -> None:
    async with scene.ring() as ring:
        for _ in range(3):
            key = await asyncio.to_thread(scene.turn)
            await asyncio.to_thread(until_gives, ring, key)
        await asyncio.to_thread(until_true, scene.listeners)
    await asyncio.to_thread(until_true, lambda: scene.listeners() == 0)


def test_a_ring_that_is_closed_while_it_listens_leaves_no_thread(scene: Scene) -> None:
    with scene.ring():
        until_true(scene.listeners)
    assert threads("keyturn-keyring") == 0
    until_true(lambda: scene.listeners() == 0)


def test_a_role_without_watch_is_told_once_and_the_ring_polls(
    double: KubernetesDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = of_secrets(double, tmp_path, monkeypatch, watches=False)
    often = Freshness(interval=timedelta(milliseconds=200), floor=timedelta(milliseconds=50))
    with caplog.at_level(logging.WARNING), scene.ring(often) as ring:
        key = scene.turn()
        until_gives(ring, key)
        until_true(lambda: double.calls["watch secrets"] >= 5)
        assert double.calls["watch secrets"] <= double.calls["get secrets"] + 1, "no more often than it is read"
    (told,) = [each for each in caplog.messages if "does not tell of changes" in each]
    assert "verbs: [watch]" in told


def test_an_outage_of_the_server_is_outlived(
    double: KubernetesDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = of_secrets(double, tmp_path, monkeypatch)
    with scene.ring() as ring:
        until_true(scene.listeners)
        double.inject("watch secrets", Kind.UNAVAILABLE, times=2)
        double.inject("get secrets", Kind.RESET, times=2)
        key = scene.turn()
        until_gives(ring, key)
