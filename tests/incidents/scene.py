"""Stores in memory that hold the keys of three credentials, and a service in front of them that starts nothing real."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

from starlette.testclient import TestClient

from deployments.incidents.app import incident_app
from deployments.incidents.desk import Desk, Progress, Run
from deployments.incidents.entrance import Entrance
from keyturn.config import Config, parse
from keyturn.errors import MisconfiguredError, UnavailableError
from keyturn.incident_settings import SourceSettings
from keyturn.incidents.intake import Intake
from keyturn.incidents.leak import Lookup, Subject
from keyturn.journal import notes
from keyturn.key_parts import Part
from keyturn.lifecycle import Policy
from keyturn.material import KeyMaterial
from keyturn.model import HeldKey, SecretRef, Stage, VersionRef
from keyturn.ports import SecretStore

CONFIG = """
providers:
  openai-org: {kind: openai, admin_key: env:OPENAI_ADMIN_KEY, project: proj_abc, service_account: svc_acct_abc}
  other-org: {kind: openai, admin_key: env:OPENAI_ADMIN_KEY, project: proj_def, service_account: svc_acct_def}
stores:
  vault: {kind: vault_kv2, address: "https://vault:8200", auth: {method: token, token: env:VAULT_TOKEN}}
proxies:
  local: {kind: process, members: ["http://127.0.0.1:4001"], master_key: env:LITELLM_MASTER_KEY}
credentials:
  one:
    provider: openai-org
    secrets: [{store: vault, path: one, field: KEY}]
    canary: {proxy: local, model: gpt}
    proxies: [local]
  two:
    provider: openai-org
    secrets: [{store: vault, path: two, field: KEY}]
    canary: {proxy: local, model: gpt}
    proxies: [local]
  six:
    provider: other-org
    secrets: [{store: vault, path: six, field: KEY}]
    canary: {proxy: local, model: gpt}
    proxies: [local]
incidents:
  callers:
    on-call: {token: env:ON_CALL}
    siem: {hmac: env:SIEM}
  sources:
    github: {kind: github, secret: env:GITHUB, types: {openai_api_key: [one, two]}}
    github-asked: {kind: github, secret: env:GITHUB, api_token: env:GITHUB_TOKEN}
    gitguardian: {kind: gitguardian, secret: env:GITGUARDIAN, hashes: true, types: {openai: [six]}}
    trufflehog: {kind: trufflehog, token: env:TRUFFLEHOG}
    gitleaks: {kind: generic, token: env:GITLEAKS, key: Secret}
  rate: 20
  largest: 4096
"""


def new_key() -> str:
    return "sk-" + secrets.token_hex(24)


class Stores:
    """What keyturn.assembly.Adapters offers, in memory. `broken`: credentials whose store fails; `slow`: never answers."""

    def __init__(self, names: Sequence[str]) -> None:
        self.keys = {name: {stage: new_key() for stage in (Stage.CURRENT, Stage.PREVIOUS)} for name in names}
        self.remembered: dict[str, str] = {}
        self.broken: set[str] = set()
        self.slow: set[str] = set()
        self.parts_of: dict[str, tuple[Part, ...]] = {}

    async def held(self, credential: str) -> Mapping[Stage, HeldKey]:
        if credential in self.broken:
            raise UnavailableError("sealed")
        if credential in self.slow:
            await asyncio.sleep(3600)
        texts = {stage: KeyMaterial(text) for stage, text in self.keys[credential].items()}
        return {stage: HeldKey(VersionRef("v1", each.fingerprint()), each) for stage, each in texts.items()}

    def parts(self, credential: str) -> tuple[Part, ...]:
        return self.parts_of.get(credential, ())

    def store(self, name: str) -> SecretStore:
        return cast(SecretStore, self)

    async def annotations(self, secret: SecretRef) -> Mapping[str, str]:
        known = self.remembered.get(secret.path)
        return {name: text for name, text in notes(keys={known: "key_1"} if known else {}).items() if text is not None}


class Service:
    """The application with its door, over Stores. `started`: what a run was wanted for."""

    def __init__(self, config: str = CONFIG, **more: Any) -> None:
        self.config: Config = parse(config)
        assert self.config.incidents is not None
        self.settings = self.config.incidents
        self.stores = Stores(list(self.config.credentials))
        self.secrets = {
            name: secrets.token_hex(20)
            for name in ("ON_CALL", "SIEM", "GITHUB", "GITHUB_TOKEN", "GITGUARDIAN", "TRUFFLEHOG", "GITLEAKS")
        }
        self.started: list[tuple[Sequence[Subject], Policy]] = []
        self.asked: list[str] = []
        self.at_github: str | None = None
        self.run = uuid4()
        self.fails: Exception | None = None
        self.clock = 0.0
        self.time = datetime(2026, 11, 30, tzinfo=UTC)
        entrance = Entrance(self.settings, self._resolve, lambda: self.clock, lambda: self.time)
        self.intake = Intake(self.config, self.stores, 0.2)
        desk = Desk(self.config, self.settings, self.intake, self._start, self._tell, self._ask)
        self.http = TestClient(incident_app(desk, entrance), raise_server_exceptions=False)

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secrets['ON_CALL']}"}

    def post(self, body: Any, path: str = "/incidents", headers: Mapping[str, str] | None = None) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(path, content=content, headers=dict(self.bearer if headers is None else headers))

    async def _resolve(self, reference: str) -> KeyMaterial:
        text = self.secrets.get(reference.removeprefix("env:"))
        if text is None:
            raise MisconfiguredError(f"{reference} gives no usable secret")
        return KeyMaterial(text)

    async def _start(self, subjects: Sequence[Subject], policy: Policy) -> Sequence[Run]:
        if self.fails is not None:
            raise self.fails
        self.started.append((subjects, policy))
        return [Run(self.run, tuple(sorted({name for each in subjects for name in each.credentials})), begun=True)]

    async def _tell(self, run: UUID) -> Progress | None:
        return Progress(run, "running", ("one",), steps=({"step": "create", "state": "done"},)) if run == self.run else None

    async def _ask(self, source: SourceSettings, lookup: Lookup) -> KeyMaterial | None:
        self.asked.append(lookup.path)
        if self.at_github is None:
            raise UnavailableError("GitHub's API does not answer")
        return KeyMaterial(self.at_github)
