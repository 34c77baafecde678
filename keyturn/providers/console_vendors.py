"""Vendors whose keys are made and deleted in a console alone: what is known of each. The form of a check is a setting.

No API for keys was found for any of them (their SDKs have none, and other projects found none, September 2026). What a dead
key is answered, and where a key can be tried for nothing, is recalled but for what says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsoleVendor:
    """`check`: an address that a GET with the key, as bearer, tries it at for nothing; "" where none is known. `dead`: how a
    dead key is answered there. `known`: how the last two are known, R recalled, V verified from the vendor's page."""

    vendor: str
    variables: tuple[str, ...]
    models: str
    check: str
    console: str
    dead: tuple[str, ...] = ("401",)
    known: str = "R"


VENDORS: Mapping[str, ConsoleVendor] = {
    "cerebras": ConsoleVendor(
        "Cerebras",
        ("CEREBRAS_API_KEY",),
        "cerebras/",
        "https://api.cerebras.ai/v1/models",
        "https://cloud.cerebras.ai",
        known="V for 401, R for the address",
    ),
    "cohere": ConsoleVendor(
        "Cohere",
        ("COHERE_API_KEY",),
        "cohere/",
        "https://api.cohere.com/v1/models",
        "https://dashboard.cohere.com/api-keys",
    ),
    "deepinfra": ConsoleVendor(
        "DeepInfra",
        ("DEEPINFRA_API_KEY",),
        "deepinfra/",
        "https://api.deepinfra.com/v1/openai/models",
        "https://deepinfra.com/dash/api_keys",
    ),
    "deepseek": ConsoleVendor(
        "DeepSeek",
        ("DEEPSEEK_API_KEY",),
        "deepseek/",
        "https://api.deepseek.com/models",
        "https://platform.deepseek.com/api_keys",
    ),
    "groq": ConsoleVendor(
        "Groq", ("GROQ_API_KEY",), "groq/", "https://api.groq.com/openai/v1/models", "https://console.groq.com/keys"
    ),
    "nvidia": ConsoleVendor(
        "NVIDIA",
        ("NVIDIA_NIM_API_KEY",),
        "nvidia_nim/",
        "",  # its list of models is said to be open to anybody: that shows nothing
        "https://build.nvidia.com/settings/api-keys",
    ),
    "replicate": ConsoleVendor(
        "Replicate",
        ("REPLICATE_API_KEY",),
        "replicate/",
        "https://api.replicate.com/v1/account",
        "https://replicate.com/account/api-tokens",
    ),
    "sambanova": ConsoleVendor("SambaNova", ("SAMBANOVA_API_KEY",), "sambanova/", "", "https://cloud.sambanova.ai/apis"),
    "together": ConsoleVendor(
        "Together",
        ("TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_TOKEN"),
        "together_ai/",
        "https://api.together.xyz/v1/models",
        "https://api.together.ai/settings/api-keys",
    ),
    "voyage": ConsoleVendor(
        "Voyage", ("VOYAGE_API_KEY", "VOYAGE_AI_API_KEY", "VOYAGE_AI_TOKEN"), "voyage/", "", "https://dashboard.voyageai.com"
    ),
    "custom": ConsoleVendor("a vendor of your own", (), "any", "", "its console"),
}
