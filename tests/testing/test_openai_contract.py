"""The simulator's answers and the adapter's requests against OpenAI's own API description and SDK.

The description is of August 2026, the SDK of November: where they differ the SDK holds, and NEWER lists the difference.
"""

from __future__ import annotations

import json
import re
import secrets
import typing
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator
from openai.types.admin.organization import Project
from openai.types.admin.organization.projects import (
    ProjectAPIKey,
    ServiceAccountCreateResponse,
    service_account_create_params,
)
from openai.types.admin.organization.projects.service_accounts import APIKeyCreateResponse, api_key_create_params
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from keyturn.errors import KeyturnError
from keyturn.material import KeyMaterial
from keyturn.model import Mark
from keyturn.providers.openai import OpenAI
from keyturn.references import resolver
from keyturn.testing.loopback import LoopbackServer
from keyturn.testing.openai_endpoints import OPERATIONS
from keyturn.testing.openai_organization import Organization
from keyturn.testing.openai_simulator import simulator
from tests.providers.description import Exchange, Recorder

SPEC = Path(__file__).parents[3] / "shared" / "specs" / "openai-admin.yaml"
PROJECT, ACCOUNT = "proj_test", "svc_acct_test"
PATH = "/organization/projects/{project_id}"

pytestmark = pytest.mark.skipif(
    not SPEC.exists(),
    reason=f"CONTRACT NOT CHECKED: OpenAI's API description is not at {SPEC} (it is not part of this repository)",
)

# Fields that the SDK 3.54.0 has and the description does not: by `object` for answers, by path for requests.
NEWER_IN_ANSWERS = {
    ("organization.project.api_key", "expires_at"),
    ("organization.project.service_account.api_key", "expires_at"),
}
NEWER_IN_REQUESTS = {
    f"{PATH}/service_accounts": {"expires_in_seconds"},
    f"{PATH}/service_accounts/{{service_account_id}}/api_keys": {"expires_in_seconds"},
}
NEWER_PATHS = {PATH}


def of_the_admin_api(recorder: Recorder) -> list[Exchange]:
    """What went over the wire there, with paths as the description has them."""
    found = [each for each in recorder.exchanges if each.path.startswith("/v1/organization")]
    return [replace(each, path=each.path.removeprefix("/v1")) for each in found]


def names_of(exchange: Exchange) -> set[str]:
    """The names of all that was sent, in the query and in the body."""
    return {name.removesuffix("[]") for name in exchange.query} | set(exchange.body or {})


class Description:
    """OpenAI's API description, read for one question at a time."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        resource = Resource.from_contents(data, default_specification=DRAFT202012)
        self.registry: Registry[Any] = Registry().with_resource("urn:openai", resource)

    def template(self, path: str) -> str | None:
        for template in self.data["paths"]:
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                return str(template)
        return None

    def parameters(self, template: str, method: str) -> set[str]:
        operation = self.data["paths"][template][method.lower()]
        names = {each["name"] for each in operation.get("parameters", []) if each["in"] == "query"}
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        return names | set(self.resolved(body).get("properties", {}))

    def answer(self, template: str, method: str, status: int) -> Mapping[str, Any]:
        """The schema of an answer. An error that is not declared has the form of those that are."""
        declared = self.data["paths"][template][method.lower()]["responses"].get(str(status))
        if declared is None:
            return {"$ref": "#/components/schemas/ErrorResponse"}
        schema: Mapping[str, Any] = self.resolved(declared)["content"]["application/json"]["schema"]
        return schema

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            target: Any = self.data
            for part in schema["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            schema = target
        return schema

    def validator(self, schema: Mapping[str, Any]) -> Draft202012Validator:
        absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:openai#/'))
        return Draft202012Validator(absolute, registry=self.registry)

    def unknown(self, instance: Any, schemas: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
        """The fields of an instance that no schema names: no schema here forbids them, so a misspelling would pass."""
        flat = list(self.flat(instance, schemas))
        if isinstance(instance, list):
            for item in instance:
                yield from self.unknown(item, [schema["items"] for schema in flat if "items" in schema])
        if isinstance(instance, dict):
            for name, value in instance.items():
                under = [schema["properties"][name] for schema in flat if name in schema.get("properties", {})]
                if under:
                    yield from self.unknown(value, under)
                else:
                    yield str(instance.get("object")), name

    def flat(self, instance: Any, schemas: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        for schema in map(self.resolved, schemas):
            yield schema
            yield from self.flat(instance, schema.get("allOf", []))
            for choice in (*schema.get("anyOf", []), *schema.get("oneOf", [])):
                if self.validator(choice).is_valid(instance):
                    yield from self.flat(instance, [choice])


@pytest.fixture(scope="module")
def description() -> Description:
    return Description(yaml.safe_load(SPEC.read_text()))


@pytest.fixture
def admin_key() -> KeyMaterial:
    return KeyMaterial("sk-admin-" + secrets.token_hex(24))


@pytest.fixture
def organization(admin_key: KeyMaterial) -> Organization:
    organization = Organization(admin_key)
    organization.add_project(PROJECT)
    organization.add_account(PROJECT, "litellm", id=ACCOUNT)
    organization.add_key(PROJECT, "a user's")
    return organization


@pytest.fixture
def recorder(organization: Organization) -> Recorder:
    return Recorder(simulator(organization))


async def adapter_at_work(url: str, admin_key: KeyMaterial, organization: Organization) -> None:
    """Every call that the adapter knows, in both of its modes, with success and without."""
    mark = Mark.of("openai-prod", "vault:a#b")
    for more in ({"service_account": ACCOUNT, "scopes": ["api.responses.write"]}, {}, {"project": "proj_other"}):
        settings = {"admin_key": "env:ADMIN", "project": PROJECT, "base_url": f"{url}/v1"} | more
        openai = OpenAI(OpenAI.Settings.model_validate(settings), resolver(environ={"ADMIN": admin_key.reveal()}))
        await openai.preflight()
        for organization.behaviour.account_keys_undeletable in (False, True):
            try:
                created = await openai.create(mark.label(str(uuid.uuid4())), openai.capabilities.usage_lag)
                await openai.check(created.material)
                await openai.last_used(created.ref)
                await openai.find(created.ref.name)
                await openai.revoke(created.ref)
                await openai.revoke(created.ref)
            except KeyturnError:
                continue
        await openai.aclose()


async def test_what_the_adapter_sends_and_the_simulator_answers_is_as_openai_describes_it(
    description: Description, recorder: Recorder, admin_key: KeyMaterial, organization: Organization
) -> None:
    with LoopbackServer(recorder) as server:
        await adapter_at_work(server.url, admin_key, organization)
        start = int(organization.clock()) - 60
        async with httpx.AsyncClient(
            base_url=f"{server.url}/v1/organization",
            headers={"Authorization": f"Bearer {admin_key.reveal()}"},
            trust_env=False,
        ) as client:  # what the adapter has no need of
            await client.get(f"/usage/completions?start_time={start}&bucket_width=1m&group_by[]=api_key_id")
            await client.get(f"/projects/{PROJECT}/service_accounts?limit=1")
            await client.post(f"/projects/{PROJECT}/service_accounts/{ACCOUNT}", json={"name": "other"})
            await client.post(
                f"/projects/{PROJECT}/service_accounts", json={"name": "alone", "create_service_account_only": True}
            )
            organization.add_key(PROJECT, "one", account=ACCOUNT)
            await client.get(f"/projects/{PROJECT}/api_keys?limit=1")
    faults = [fault for exchange in of_the_admin_api(recorder) for fault in faults_of(description, exchange)]
    assert faults == []
    seen = {(exchange.method, description.template(exchange.path)) for exchange in of_the_admin_api(recorder)}
    assert len(seen) == sum(operation.group == "admin" for operation in OPERATIONS.values())
    assert {200, 400, 404} <= {exchange.status for exchange in of_the_admin_api(recorder)}


def faults_of(description: Description, exchange: Exchange) -> Iterator[str]:
    where = f"{exchange.method} {exchange.path} -> {exchange.status}"
    template = description.template(exchange.path)
    if template is None:
        if re.sub("proj_[a-z]+", "{project_id}", exchange.path) not in NEWER_PATHS:
            yield f"{where}: no such path"
        return
    for name in names_of(exchange) - description.parameters(template, exchange.method):
        if name not in NEWER_IN_REQUESTS.get(template, set()):
            yield f"{where}: no parameter {name}"
    schema = description.answer(template, exchange.method, exchange.status)
    for error in description.validator(schema).iter_errors(exchange.answer):
        yield f"{where}: {error.json_path} {error.validator}"
    for kind, name in description.unknown(exchange.answer, [schema]):
        if (kind, name) not in NEWER_IN_ANSWERS:
            yield f"{where}: no field {name} in {kind}"


def test_what_is_newer_than_the_description_is_in_the_sdk() -> None:
    for answer in (ProjectAPIKey, ServiceAccountCreateResponse.model_fields["api_key"].annotation, APIKeyCreateResponse):
        kinds = [answer, *typing.get_args(answer)]
        assert any("expires_at" in getattr(kind, "model_fields", {}) for kind in kinds)
    for request in (service_account_create_params.ServiceAccountCreateParams, api_key_create_params.APIKeyCreateParams):
        assert "expires_in_seconds" in request.__annotations__
    assert {"id", "object", "created_at", "archived_at", "name", "status"} <= set(Project.model_fields)


def test_the_simulator_knows_the_parameters_that_openai_describes_and_no_others(description: Description) -> None:
    for name, operation in OPERATIONS.items():
        template = description.template(operation.path)
        if template is not None and operation.group == "admin":
            newer = NEWER_IN_REQUESTS.get(template, set()) if operation.method == "POST" else set()
            wanted = description.parameters(template, operation.method) | newer
            assert operation.query | (operation.body or frozenset()) == wanted, name


def test_the_check_of_names_finds_a_misspelt_field(description: Description) -> None:
    page = {"object": "list", "data": [{"object": "organization.project.api_key", "lastused_at": 1}], "has_more": False}
    schema = {"$ref": "#/components/schemas/ProjectApiKeyListResponse"}
    assert list(description.unknown(page, [schema])) == [("organization.project.api_key", "lastused_at")]
    assert list(description.validator(schema).iter_errors(page))
