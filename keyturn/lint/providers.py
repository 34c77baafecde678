"""Which variable LiteLLM reads for a model that names none, by the model's prefix. Read in LiteLLM 1.106.2."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.delivery.aliases import FAMILIES, family_of
from keyturn.key_parts import AWS_ACCESS_KEY, Part

_DEFAULT = {
    "openai": "OPENAI_API_KEY",
    "text-completion-openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GOOGLE_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "azure_ai": "AZURE_AI_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
    "cohere": "COHERE_API_KEY",
    "cohere_chat": "COHERE_API_KEY",
    "codestral": "CODESTRAL_API_KEY",
    "databricks": "DATABRICKS_API_KEY",
    "deepinfra": "DEEPINFRA_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "elevenlabs": "ELEVENLABS_API_KEY",
    "fireworks_ai": "FIREWORKS_API_KEY",
    "groq": "GROQ_API_KEY",
    "huggingface": "HF_TOKEN",
    "mistral": "MISTRAL_API_KEY",
    "nvidia_nim": "NVIDIA_NIM_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "perplexity": "PERPLEXITYAI_API_KEY",
    "replicate": "REPLICATE_API_KEY",
    "sambanova": "SAMBANOVA_API_KEY",
    "snowflake": "SNOWFLAKE_JWT",
    "together_ai": "TOGETHER_API_KEY",
    "voyage": "VOYAGE_API_KEY",
    "xai": "XAI_API_KEY",
}
# Providers whose key has several parts. Without any LiteLLM takes what the machine has, and that is well.
PARTS: Mapping[str, tuple[Part, ...]] = dict.fromkeys(("bedrock", "sagemaker", "sagemaker_chat"), AWS_ACCESS_KEY)
_BARE_NAMES = ("gpt-", "o1", "o3", "o4", "text-embedding-", "chatgpt-")  # OpenAI's, which need no prefix
LISTED_BY_LITELLM = ("openai", "hosted_vllm", "openai_like", "text-completion-openai")  # it asks these for their models

# Every variable of which LiteLLM takes a provider's key by itself.
KEY_VARIABLES = frozenset(_DEFAULT.values()) | {name for family in FAMILIES for name in family}


def provider_of(model: str) -> str:
    """The provider of a `litellm_params.model`; empty where its name does not say it."""
    prefix, slash, _ = model.partition("/")
    if slash:
        return prefix
    return "openai" if model.startswith(_BARE_NAMES) else ""


def default_variables(provider: str) -> tuple[str, ...]:
    """What LiteLLM reads for its models, in order; () for a provider without a key, or not known here."""
    first = _DEFAULT.get(provider)
    return () if first is None else family_of(first) or (first,)
