"""The deployments of `model_list`, and where each takes its key from."""

from __future__ import annotations

import re
from collections.abc import Iterator

from keyturn.key_shapes import shown
from keyturn.lint.catalogue import (
    DEFAULT_VARIABLE,
    MOCKED,
    NO_MODEL_ID,
    NOBODY_WRITES,
    OIDC_FILE,
    TWO_SOURCES,
)
from keyturn.lint.finding import Hit, hit
from keyturn.lint.providers import PARTS, default_variables, provider_of
from keyturn.lint.tree import Map, Node, Scalar, text_of, walk
from keyturn.lint.written import Written

_REFERENCE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_READABLE = ("/var/run/secrets/", "/run/secrets/")
# With these it does not take a pair of the environment.
_NOT_BY_VARIABLES = ("api_key", "aws_profile_name", "aws_web_identity_token", "litellm_credential_name")
# Any of these says how a deployment logs in.
_OTHER_WAYS = re.compile(
    r"litellm_credential_name|api_key|azure_ad_token.*|tenant_id|client_(?:id|secret)|aws_.*|vertex_.*|anthropic_.*|"
    r"use_in_pass_through_credentials|extra_headers|token|watsonx_.*|configurable_clientside_auth_params"
)


def names_read(root: Map) -> set[str]:
    """Every variable that the configuration reads: those it names, and the usual ones of models that name none."""
    found: set[str] = set()
    for _, _, node in walk(root):
        if isinstance(node, Scalar) and (named := _REFERENCE.fullmatch(node.text.strip())):
            found.add(named[1])
    for model in _models(root):
        if not _says_how(model):
            found.update(default_variables(provider_of(model.text("litellm_params", "model"))))
        found.update(_parts_read(model.map("litellm_params")))
    return found


def _parts_read(params: Map) -> Iterator[str]:
    """The usual variables of the parts of a key that a model does not name."""
    if not any(text_or_more(params, name) for name in _NOT_BY_VARIABLES):
        parts = PARTS.get(provider_of(params.text("model")), ())
        yield from (part.variable for part in parts if not text_or_more(params, part.name))


def model_hits(root: Map, written: Written | None) -> Iterator[Hit]:
    for model in _models(root):
        params = model.map("litellm_params")
        yield from _key_hits(params, written)
        if not _says_how(model):
            names = default_variables(provider_of(params.text("model")))
            if names:
                usual = (
                    f"its usual variable {names[0]}" if len(names) == 1 else f"the first that is set of {', '.join(names)}"
                )
                yield hit(DEFAULT_VARIABLE, params, f"without api_key LiteLLM takes {usual}")
        if text_of(params.at("mock_response")):
            yield hit(MOCKED, params.keys["mock_response"], "this deployment answers without its provider")
        if not text_of(model.at("model_info", "id")):
            yield hit(NO_MODEL_ID, model, "this deployment has no id of its own")


def _models(root: Map) -> Iterator[Map]:
    for node in root.list("model_list"):
        if isinstance(node, Map) and isinstance(node.at("litellm_params"), Map):
            yield node


def _says_how(model: Map) -> bool:
    params = model.map("litellm_params")
    return any(_OTHER_WAYS.fullmatch(name) and text_or_more(params, name) for name in params.values)


def text_or_more(params: Map, name: str) -> bool:
    """Whether there is something: a text, or a structure."""
    node = params.at(name)
    return bool(text_of(node)) if isinstance(node, Scalar) else node is not None


def _key_hits(params: Map, written: Written | None) -> Iterator[Hit]:
    for part in PARTS.get(provider_of(params.text("model")), ()):
        yield from _unwritten(params.at(part.name), written)
    node = params.at("api_key")
    if not isinstance(node, Scalar) or not text_of(node):
        return
    if params.text("litellm_credential_name"):
        yield hit(TWO_SOURCES, params.keys["api_key"], "this api_key wins over the credential that is named beside it")
    if node.text.startswith("oidc/file/"):
        path = node.text.removeprefix("oidc/file/")
        if not path.startswith("/"):
            yield hit(OIDC_FILE, node, "the path after oidc/file/ is not absolute")
        elif not path.startswith(_READABLE):
            yield hit(OIDC_FILE, node, "LiteLLM reads no file there, unless LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS says so")
    yield from _unwritten(node, written)


def _unwritten(node: Node | None, written: Written | None) -> Iterator[Hit]:
    named = _REFERENCE.fullmatch(node.text) if isinstance(node, Scalar) else None
    if isinstance(node, Scalar) and written is not None and named and not written.delivers(named[1]):
        yield hit(NOBODY_WRITES, node, f"no credential of keyturn.yaml delivers {shown(named[1])}")
