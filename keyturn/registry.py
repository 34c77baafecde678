"""From a `kind` in keyturn.yaml to the adapter's class, imported on use.

A third party adds a kind by an entry point of the same group:

    [project.entry-points."keyturn.providers"]
    acme = "keyturn_acme:Acme"

An adapter is a class with a pydantic model `Settings` (its section of keyturn.yaml without `kind`) and a constructor
`(settings, resolve)`, where `resolve` is a `keyturn.references.Resolver`. What else it has a use for it names in `NEEDS`,
and is given by these names:

    stores      the store of a name of keyturn.yaml
    logins      the reference that the provider of a credential logs in with
    secrets     the secrets of a credential
    variables   the variables that LiteLLM reads for a credential, or None
    keys        these, and how the CURRENT of a credential is read (keyturn.delivery.keys.Variable)
    held        what the deciding secret of a credential holds
    parts       the parts of a credential's keys
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from keyturn.errors import MisconfiguredError

PROVIDERS = {
    "anthropic": "keyturn.providers.anthropic:Anthropic",
    "aws_access_key": "keyturn.providers.aws_access_key:AwsAccessKey",
    "azure_openai": "keyturn.providers.azure_openai:AzureOpenAI",
    "bedrock_api_key": "keyturn.providers.bedrock_api_key:BedrockApiKey",
    "cloudflare": "keyturn.providers.cloudflare:Cloudflare",
    "console_pool": "keyturn.providers.console_pool:ConsolePool",
    "databricks": "keyturn.providers.databricks:Databricks",
    "elevenlabs": "keyturn.providers.elevenlabs:ElevenLabs",
    "fireworks": "keyturn.providers.fireworks:Fireworks",
    "google_gemini": "keyturn.providers.google_gemini:GoogleGemini",
    "http": "keyturn.providers.http_declared:HttpDeclared",
    "huggingface": "keyturn.providers.huggingface:HuggingFace",
    "litellm_proxy": "keyturn.providers.litellm_proxy:LiteLLMProxy",
    "mistral": "keyturn.providers.mistral:Mistral",
    "openai": "keyturn.providers.openai:OpenAI",
    "openai_admin_key": "keyturn.providers.openai_admin_key:OpenAIAdminKey",
    "openrouter": "keyturn.providers.openrouter:OpenRouter",
    "perplexity": "keyturn.providers.perplexity:Perplexity",
    "snowflake": "keyturn.providers.snowflake:Snowflake",
    "vault_dynamic": "keyturn.providers.vault_dynamic:VaultDynamic",
    "vertex": "keyturn.providers.vertex:Vertex",
    "voyage_atlas": "keyturn.providers.voyage_atlas:VoyageAtlas",
    "watsonx": "keyturn.providers.watsonx:Watsonx",
    "xai": "keyturn.providers.xai:XAI",
}
STORES = {
    "vault_kv2": "keyturn.stores.vault_kv2:VaultKV2",
    "aws_secrets_manager": "keyturn.stores.aws_secrets_manager:AWSSecretsManager",
    "dotenv": "keyturn.stores.dotenv_file:DotenvFile",
    "kubernetes_secret": "keyturn.stores.kubernetes_secret:KubernetesSecret",
}
FLEETS = {
    "process": "keyturn.fleets.process:ProcessFleet",
    "command": "keyturn.fleets.command:CommandFleet",
    "docker": "keyturn.fleets.docker:DockerFleet",
    "ecs": "keyturn.fleets.ecs:ECSFleet",
    "keyturn": "keyturn.fleets.own:KeyturnItself",
    "systemd": "keyturn.fleets.systemd:SystemdFleet",
    "litellm_credentials": "keyturn.fleets.litellm_credentials:LiteLLMCredentials",
    "kubernetes": "keyturn.fleets.kubernetes:KubernetesFleet",
}
LEASES = {
    "azure_token": "keyturn.leases.azure_token:AzureToken",
    "bedrock_token": "keyturn.leases.bedrock_token:BedrockToken",
}

_BUILT_IN = {"providers": PROVIDERS, "stores": STORES, "proxies": FLEETS, "leases": LEASES}


def kinds(section: str) -> dict[str, str]:
    """Every kind of a section of keyturn.yaml ("providers", "stores", "proxies", "leases"), ours, then third parties'."""
    return {**_installed(section), **_BUILT_IN[section]}


@cache
def _installed(section: str) -> dict[str, str]:  # to look through every installed package takes as long as all the rest
    return {point.name: point.value for point in entry_points(group=f"keyturn.{section}")}


def needs(adapter: type[Any]) -> tuple[str, ...]:
    """What its constructor is given beside settings and resolver."""
    found: tuple[str, ...] = getattr(adapter, "NEEDS", ())
    return found


def adapter_class(section: str, kind: str) -> Any:
    """The adapter's class. MisconfiguredError names the kinds there are."""
    known = kinds(section)
    if kind not in known:
        raise MisconfiguredError(f"no kind of that name in {section}", remedy=f"use one of: {', '.join(sorted(known))}")
    module, _, name = known[kind].partition(":")
    return getattr(import_module(module), name)
