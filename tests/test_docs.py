"""What the documentation and the examples say is so: every setting, every option, every link, every file that is shown."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

from keyturn import durations
from keyturn.audit.writer import AuditSettings
from keyturn.cli import app
from keyturn.commands.exits import Exit
from keyturn.config import load, parse
from keyturn.delivery.variables import variables
from keyturn.deploy_settings import DeploySettings, FollowsSettings
from keyturn.incident_settings import IncidentSettings
from keyturn.providers.page import page as page_of
from keyturn.providers.told import told
from keyturn.registry import adapter_class, kinds
from keyturn.settings import CredentialSettings, InventorySettings, ProviderLimits, SweepSettings
from keyturn.testing.embedded import beside

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

# Settings ---------------------------------------------------------------------------------------------------------------


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", page, re.DOTALL | re.MULTILINE)
    assert found is not None, f"no heading '{heading}'"
    return found[1]


def rows(text: str) -> dict[str, list[str]]:
    """The rows of a section's tables, by what stands in backticks in their first column."""
    table = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
    return {re.findall(r"`([^`]+)`", cells[0])[0]: [cell.strip() for cell in cells] for cells in table}


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's type is made of, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if inner := models_in(field.annotation):
            dot = "[]." if str(field.annotation).startswith("tuple") else "."
            for each in inner:
                yield from settings_of(each, f"{prefix}{name}{dot}")
        else:
            yield prefix + name, field


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None or field.default in ((), {}, ""):
        return "none"
    value = field.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{durations.text(value) if isinstance(value, timedelta) else value}`"


ON_THE_PAGE_OF_PROVIDERS = set(kinds("providers")) - {"openai", "vault_dynamic"}

SECTIONS: list[tuple[str, type[BaseModel]]] = [
    ("Credentials", CredentialSettings),
    ("Sweep", SweepSettings),
    ("Audit", AuditSettings),
    ("Inventory", InventorySettings),
    ("Deploy", DeploySettings),
    ("Follows", FollowsSettings),
    ("Incidents", IncidentSettings),
    ("Every kind of provider", ProviderLimits),
]
SETTINGS = SECTIONS + [
    (f"`{kind}`", adapter_class(part, kind).Settings)
    for part in ("providers", "stores", "proxies", "leases")
    for kind in kinds(part)
    if adapter_class(part, kind).__module__.startswith("keyturn.")  # not what somebody has installed beside it
    and (part != "providers" or kind not in ON_THE_PAGE_OF_PROVIDERS)
]


@pytest.mark.parametrize(("heading", "model"), SETTINGS, ids=[heading for heading, _ in SETTINGS])
def test_every_setting_is_documented_with_its_default(heading: str, model: type[BaseModel]) -> None:
    told = rows(section((DOCS / "configuration.md").read_text(), heading))
    there = {name: default_of(field) for name, field in settings_of(model)}
    assert {name: cells[2] for name, cells in told.items()} == there


def test_the_page_of_providers_is_what_the_adapters_tell() -> None:
    ours = {kind: adapter_class("providers", kind) for kind in kinds("providers")}
    made = page_of(told({kind: each for kind, each in ours.items() if each.__module__.startswith("keyturn.")}))
    assert (DOCS / "providers.md").read_text() == made, "run `make docs`"


@pytest.mark.parametrize("kind", ["openai", "anthropic", "vertex", "azure_openai", "aws_access_key", "bedrock_api_key"])
def test_who_does_without_a_key_is_led_to_the_steps(kind: str) -> None:
    facts = adapter_class("providers", kind).FACTS
    steps = section((DOCS / "without-a-key.md").read_text(), facts.steps)
    assert "LiteLLM" in steps
    assert "Recalled" in steps or "Read:" in steps, "it says how it is known"
    assert facts.without_a_key.endswith(f"docs/without-a-key.md#{facts.anchor}")


def test_the_settings_are_found_at_every_depth() -> None:
    names = {name for _, model in SETTINGS for name, _ in settings_of(model)}
    assert {"overlap", "canary.model", "secrets[].field", "auth.role_id", "auth.token", "members[].control"} <= names


# Commands ---------------------------------------------------------------------------------------------------------------

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]


WITHIN: dict[str, Any] = {
    f"{name} {each}": command for name, group in COMMANDS.items() for each, command in getattr(group, "commands", {}).items()
}


@pytest.mark.parametrize("name", [*COMMANDS, *WITHIN])
def test_every_option_of_a_command_is_documented(name: str) -> None:
    told = rows(section((DOCS / "commands.md").read_text(), f"keyturn {name}"))
    options = {each.opts[0]: each for each in (COMMANDS | WITHIN)[name].params if each.opts[0].startswith("--")}
    assert {first.split(" ")[0] for first in told} == set(options)
    for first, cells in told.items():
        option = options[first.split(" ")[0]]
        if option.required:
            assert cells[1] == "required", first
        elif option.default not in (None, False, ""):
            assert cells[1] == f"`{getattr(option.default, 'value', option.default)}`", first


def test_every_command_and_every_exit_code_is_documented() -> None:
    page = (DOCS / "commands.md").read_text()
    assert set(re.findall(r"^## keyturn ([\w-]+)$", page, re.MULTILINE)) == set(COMMANDS)
    codes = re.findall(r"^\| (\d) \|", section(page, "Exit codes"), re.MULTILINE)
    assert [int(code) for code in codes] == [code.value for code in Exit]


# Pages ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = unquote(target).partition("#")
        if target.startswith("http"):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name} -> {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name} -> {target}"


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_a_keyturn_yaml_that_is_shown_is_a_good_one(page: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        if "\ncredentials:" in block or "\nleases:" in block:
            parse(block)


def test_the_pages_show_one() -> None:
    assert "\ncredentials:" in (ROOT / "README.md").read_text()


def test_the_readmes_first_rotation_can_be_had_with_aws_too() -> None:
    """As it says: the other store, and the other line under `secrets`."""
    page = (ROOT / "README.md").read_text()
    (block,) = [each for each in re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if "# aws:" in each]
    without_vault = re.sub(r"^  vault:\n(    .*\n)+|^ *- \{store: vault.*\n", "", block, flags=re.MULTILINE)
    config = parse(re.sub(r"# (?=aws: |- \{store: aws)", "", without_vault))
    (secret,) = config.credentials["openai-prod"].secrets
    assert set(config.stores) == {"aws"} == {secret.store}
    assert f"--name {secret.path} " in page


def test_every_page_is_reached_from_the_readme_in_two_steps() -> None:
    readme, index = (ROOT / "README.md").read_text(), (DOCS / "index.md").read_text()
    assert "(docs/index.md)" in readme
    reached = {*re.findall(r"\(docs/([\w-]+\.md)", readme), *re.findall(r"\(([\w-]+\.md)\)", index)}
    assert [page.name for page in DOCS.glob("*.md") if page.name not in reached] == []


def test_no_target_of_make_is_named_that_is_not_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z]+)`", page.read_text())) <= targets, page.name


# Examples ---------------------------------------------------------------------------------------------------------------


def test_the_example_configuration_loads_and_shows_every_kind() -> None:
    config = load(ROOT / "deployments" / "keyturn.example.yaml")
    for part, used in (
        ("providers", config.providers),
        ("stores", config.stores),
        ("proxies", config.proxies),
        ("leases", config.leases),
    ):
        ours = {kind for kind in kinds(part) if adapter_class(part, kind).__module__.startswith("keyturn.")}
        told = ON_THE_PAGE_OF_PROVIDERS if part == "providers" else set()
        assert {each.kind for each in used.values()} - told == ours - told
    used_stores = {secret.store for credential in config.credentials.values() for secret in credential.secrets}
    assert used_stores == set(config.stores), "each store has a credential in it"


@pytest.mark.parametrize("name", ["keyturn.example.yaml", "compose.keyturn.yaml"])
def test_an_example_gives_every_key_a_variable_of_its_own(name: str) -> None:
    config = load(ROOT / "deployments" / name)
    for proxy in (name for name, part in config.proxies.items() if not part.is_keyturn and not part.has_database):
        found = variables(config, proxy, lambda _: None)  # type: ignore[arg-type,return-value]  # nothing is read
        assert {each.credential for each in found} == {
            credential for credential, settings in config.credentials.items() if proxy in settings.proxies
        }


def test_the_proxys_example_names_its_deployments_and_holds_no_key() -> None:
    config = yaml.safe_load((ROOT / "deployments" / "litellm.example.yaml").read_text())
    for deployment in config["model_list"]:
        assert deployment["model_info"]["id"]
        assert deployment["litellm_params"]["api_key"].startswith("os.environ/")
    assert config["general_settings"]["master_key"].startswith("os.environ/")


def test_the_gated_balancer_is_one_that_caddy_reads_and_the_walks_try() -> None:
    """Its gates say 503 while a member's file is there, before they ask the member."""
    path = ROOT / "deployments" / "Caddyfile.gated"
    words = [str(beside("caddy")), "adapt", "--adapter", "caddyfile", "--config", str(path)]
    adapted = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    servers = {
        server["listen"][0]: server["routes"][0]["handle"][0] for server in adapted["apps"]["http"]["servers"].values()
    }
    balancer = servers.pop(":8000")
    assert balancer["health_checks"]["active"]["port"] == 4101
    members = {each["dial"].partition(":")[0]: each["dial"] for each in balancer["upstreams"]}
    assert servers.keys() == {f"{host}:4101" for host in members}
    for host, dial in members.items():
        refusing, asking = servers[f"{host}:4101"]["routes"]
        assert refusing["match"] == [{"file": {"root": "/run/litellm", "try_files": [f"/{host}.out"]}}]
        assert refusing["handle"] == [{"handler": "static_response", "status_code": 503}]
        assert asking["handle"][0]["upstreams"] == [{"dial": dial}]
