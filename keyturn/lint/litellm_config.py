"""LiteLLM's configuration, as a file of its own, in a ConfigMap, in a compose file, or among a chart's values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from keyturn.lint.catalogue import (
    ALL_KEYS_HOSTED,
    DOLLAR_NAME,
    ENTERPRISE_MANAGER,
    MISSPELT_REFERENCE,
    NO_MASTER_KEY,
    OLD_KEY_LOOKS_USED,
    PINNED_KEY,
)
from keyturn.lint.environment import secret_hit
from keyturn.lint.finding import Hit, Severity, hit
from keyturn.lint.litellm_models import model_hits, names_read
from keyturn.lint.providers import LISTED_BY_LITELLM, provider_of
from keyturn.lint.tree import Items, Map, Scalar, text_of, walk
from keyturn.lint.written import Written

SECTIONS = ("litellm_settings", "general_settings", "router_settings")

_REFERENCE = "os.environ/"
_BRACES = re.compile(r"(?<!\$)\$\{[A-Za-z_][A-Za-z0-9_]*(?::?[-?+][^{}]*)?\}")
_BARE = re.compile(r"\$[A-Z_][A-Z0-9_]*")
_LIKE_ONE = re.compile(
    r"(?:os\.?environ|os\.env|environ|env)\s{0,5}(?:[./:]\s{0,5}|\[\s{0,5}[\"']?|\.get\(\s{0,5}[\"']?|\s)[A-Za-z_][A-Za-z0-9_]*"
    r"[\"'\])]{0,3}|os\.getenv\(.{0,80}\)",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PINS = re.compile(  # attributes of `litellm` that hold a key
    r"api_key|(?:ai21|aleph_alpha|anthropic|azure|baseten|bytez|clarifai|cohere|databricks|datarobot|gigachat|groq|heroku|"
    r"huggingface|inception|infinity|maritalk|nebius|nlp_cloud|openai|openai_like|openrouter|ovhcloud|predibase|replicate|"
    r"snowflake|vercel_ai_gateway|wandb|xai)_key|(?:amazon_nova|cloudflare|gradient_ai|llama|novita|togetherai)_api_key"
)
_ENTERPRISE = ("hashicorp_vault", "google_secret_manager", "cyberark")


@dataclass(slots=True)
class Read:
    """What all configurations of a run read: for the question which credentials nobody reads."""

    names: set[str] = field(default_factory=set)
    configurations: int = 0


def is_litellm_config(node: Map) -> bool:
    listed = node.at("model_list")
    return isinstance(listed, Items) or any(isinstance(node.at(section), Map) for section in SECTIONS)


def config_hits(
    root: Map, written: Written | None, read: Read, interpolated: bool = False, partial: bool = False
) -> Iterator[Hit]:
    """`interpolated`: something else replaces ${NAME} before LiteLLM sees the text. `partial`: more comes from elsewhere."""
    read.configurations += 1
    read.names |= names_read(root)
    managed = bool(root.text("general_settings", "key_management_system"))
    for name, _, node in walk(root):
        if isinstance(node, Scalar):
            yield from _text_hits(name, node, managed, interpolated)
    yield from _settings_hits(root, partial or root.at("include") is not None)
    yield from model_hits(root, written)


def _text_hits(name: str, node: Scalar, managed: bool, interpolated: bool) -> Iterator[Hit]:
    text = node.text
    if node.style in ("|", ">") or len(text) > 2000:  # a prompt, a certificate: not one value
        return
    if not interpolated and (_BRACES.search(text) or _BARE.fullmatch(text)):
        yield hit(DOLLAR_NAME, node, "LiteLLM does not replace this: it is used as it stands", width=len(text))
    elif text.startswith(_REFERENCE):
        yield from _reference_hits(node, text.removeprefix(_REFERENCE), managed)
    elif _REFERENCE in text and not name.startswith("description"):
        yield hit(MISSPELT_REFERENCE, node, "os.environ/ is replaced at the beginning of a value alone", width=len(text))
    elif _LIKE_ONE.fullmatch(text.strip()):
        yield hit(MISSPELT_REFERENCE, node, "this is not replaced: it is used as it stands", width=len(text))
    else:
        yield from secret_hit(name, text, node, len(text))


def _reference_hits(node: Scalar, name: str, managed: bool) -> Iterator[Hit]:
    if name.startswith("oidc/") or (managed and name == name.strip()):  # a secret manager's names may be paths
        return
    if not _VARIABLE.fullmatch(name):
        what = "a space" if re.search(r"\s", name) else "a slash" if "/" in name else "a character"
        yield hit(MISSPELT_REFERENCE, node, f"the variable's name has {what} in it: no variable is called so")
    elif name == name.lower():
        what = "this name is in lower case, and NAME is another variable than name"
        yield hit(MISSPELT_REFERENCE, node, what, Severity.warning)


def _settings_hits(root: Map, partial: bool) -> Iterator[Hit]:
    general = root.map("general_settings")
    manager = general.at("key_management_system")
    if isinstance(manager, Scalar) and manager.text in _ENTERPRISE:
        yield hit(ENTERPRISE_MANAGER, manager, f"{manager.text} needs an Enterprise licence of LiteLLM")
    if isinstance(manager, Scalar) and manager.text == "aws_secret_manager":
        hosted = general.at("key_management_settings", "hosted_keys")
        if hosted is None or (isinstance(hosted, Scalar) and hosted.is_null):
            yield hit(ALL_KEYS_HOSTED, manager, "without hosted_keys every name is looked up at AWS")
    for name, node in root.map("litellm_settings").values.items():
        if _PINS.fullmatch(name) and text_of(node):
            yield hit(PINNED_KEY, node, f"litellm_settings.{name} comes before every variable")
    models = [node for node in root.list("model_list") if isinstance(node, Map)]
    if not models:
        return
    if not partial and not text_of(general.at("master_key")):
        yield hit(NO_MASTER_KEY, root, "general_settings has no master_key")
    asked = [each for each in models if provider_of(each.text("litellm_params", "model")) in LISTED_BY_LITELLM]
    if asked and general.text("disable_model_info_refresh").lower() != "true":
        spot = general if root.at("general_settings") else root
        yield hit(OLD_KEY_LOOKS_USED, spot, "LiteLLM uses the keys by itself: disable_model_info_refresh is not true")
