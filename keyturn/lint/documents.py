"""What a YAML document is, by what stands in it, and which rules apply. Documents inside of documents are looked into."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from keyturn.lint.catalogue import LITERAL_SECRET, NOT_READ, UNREADABLE
from keyturn.lint.compose import compose_hits, is_compose
from keyturn.lint.environment import secret_hit
from keyturn.lint.finding import At, Hit, hit
from keyturn.lint.kubernetes import autoscaled, is_manifest, manifest_hits, objects
from keyturn.lint.litellm_config import Read, config_hits, is_litellm_config
from keyturn.lint.programs import image_hits
from keyturn.lint.tree import Map, Node, Root, Scalar, named, read, text_of, walk
from keyturn.lint.written import Written

_TEMPLATE = re.compile(r"\s{0,200}(?:-\s{1,20})?(?:[\w.\"'/-]{1,200}:\s{1,20})?\{\{")  # an action that no quotes hold


@dataclass(frozen=True, slots=True)
class Context:
    """What all files of a run share. `composed`: the compose documents of this file, for the files that they name."""

    written: Written | None = None
    read: Read = field(default_factory=Read)
    composed: list[Map] = field(default_factory=list)


def yaml_hits(text: str, lines: Sequence[str], context: Context) -> Iterator[Hit]:
    tree = read(text)
    if tree.failure:
        template = next((number for number, line in enumerate(lines, 1) if _TEMPLATE.match(line)), 0)
        yield _failure(tree.failure, tree.limit, tree.line, template)
    scaled = {name for root in tree.roots for each in _objects(root) for name in autoscaled(each)}
    for root in tree.roots:
        if root.opaque:
            yield hit(NOT_READ, At(root.line, 1, "document"), f"this document {root.opaque}: it is not looked into")
        elif isinstance(root.node, Map):
            yield from _document_hits(root.node, lines, scaled, context)


def encrypted(text: str) -> Iterator[Node]:
    """Values that only look like secrets: what a SealedSecret holds is encrypted."""
    for root in read(text).roots:
        for each in _objects(root):
            if each.text("kind") == "SealedSecret":
                yield from (node for _, _, node in walk(each.map("spec", "encryptedData")))


def _failure(failure: str, limit: bool, line: int, template: int) -> Hit:
    """`template`: the first line that looks like one, or 0."""
    if limit:
        return hit(NOT_READ, At(line, 1, "file"), f"the file {failure}: it is not looked into from here on")
    if template:
        return hit(NOT_READ, At(template, 1, "file"), "this is a template: it is YAML only when it is rendered")
    return hit(UNREADABLE, At(line, 1, "file"), f"the file {failure}: check indentation, colons, quotes and brackets")


def _objects(root: Root) -> Iterator[Map]:
    if isinstance(root.node, Map) and is_manifest(root.node) and not root.opaque:
        yield from objects(root.node)


def _document_hits(root: Map, lines: Sequence[str], scaled: set[str], context: Context) -> Iterator[Hit]:
    if is_manifest(root):
        for each in objects(root):
            yield from manifest_hits(each, scaled, context.written)
            if each.text("kind") == "ConfigMap":
                for name, inner in each.map("data").values.items():
                    if name.endswith((".yaml", ".yml")) and isinstance(inner, Scalar):
                        yield from _embedded_hits(inner, lines, context, interpolated=False)
    elif is_compose(root):
        context.composed.append(root)
        yield from compose_hits(root, context.written)
        for _, each in named(root.map("configs").values):
            content = each.at("content")
            if isinstance(content, Scalar):  # Compose replaces ${NAME} in it
                yield from _embedded_hits(content, lines, context, interpolated=True)
    elif is_litellm_config(root):
        yield from config_hits(root, context.written, context.read)
    elif isinstance(root.at("proxy_config"), Map) or "litellm" in root.text("image", "repository"):
        yield from _chart_hits(root, context)


def _chart_hits(root: Map, context: Context) -> Iterator[Hit]:
    """Values for LiteLLM's Helm chart."""
    config = root.map("proxy_config")
    if is_litellm_config(config):
        yield from config_hits(config, context.written, context.read, partial=True)
    image = root.map("image")
    repository, tag = image.text("repository"), image.text("tag")
    if repository and tag:
        yield from image_hits(f"{repository}:{tag}", image.at("tag") or image)
    for name, _, node in walk(root):
        if isinstance(node, Scalar):
            yield from secret_hit(name, node.text, node, len(node.text))


def _embedded_hits(node: Scalar, lines: Sequence[str], context: Context, interpolated: bool) -> Iterator[Hit]:
    tree = read(node.text)
    if tree.failure and "model_list:" in node.text and "{{" not in node.text:
        yield hit(UNREADABLE, node, f"the LiteLLM configuration in here {tree.failure}")
    for root in tree.roots:
        if isinstance(root.node, Map) and not root.opaque and is_litellm_config(root.node):
            for found in config_hits(root.node, context.written, context.read, interpolated):
                yield _moved(found, node, lines)


def _moved(found: Hit, node: Scalar, lines: Sequence[str]) -> Hit:
    """To where it stands in the outer file: line by line in a block `|`, else at the block's beginning."""
    place = f"{node.place}/{found.place}"
    line = node.line + found.line
    if node.style != "|" or line > len(lines):
        return replace(found, line=node.line, column=node.column, place=place)
    inner = node.text.split("\n")[found.line - 1]
    indent = len(lines[line - 1]) - len(lines[line - 1].lstrip()) - (len(inner) - len(inner.lstrip()))
    return replace(found, line=line, column=found.column + max(indent, 0), place=place)


def without_encrypted(hits: Sequence[Hit], text: str) -> list[Hit]:
    """Without those that only a name told, where the value is encrypted."""
    if "SealedSecret" not in text:
        return list(hits)
    places = {(node.line, node.column) for node in encrypted(text) if text_of(node)}
    return [each for each in hits if each.rule is not LITERAL_SECRET or (each.line, each.column) not in places]
