"""Kubernetes manifests: what pods are given and how they are started, Secrets, ConfigMaps. How they roll: its neighbour."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from keyturn.key_shapes import literal_keys
from keyturn.lint.catalogue import SECRET_MANIFEST
from keyturn.lint.environment import Variable, literal_hits, secret_hit, shadow_hits, unwritten_hits
from keyturn.lint.finding import Hit, hit
from keyturn.lint.programs import Program, program_hits, words_of
from keyturn.lint.rollouts import rollout_hits
from keyturn.lint.secret_values import holds_secret, is_stand_in, is_written_out
from keyturn.lint.tree import Map, Scalar, text_of
from keyturn.lint.written import Written

_POD = {  # where a kind has the pod that it makes
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Rollout": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


def is_manifest(node: Map) -> bool:
    return bool(node.text("apiVersion") and node.text("kind"))


def objects(node: Map) -> Iterator[Map]:
    """The object, or those of a List."""
    items = [each for each in node.list("items") if isinstance(each, Map)]
    if node.text("kind").endswith("List") and items:
        yield from (each for each in items if is_manifest(each))
    else:
        yield node


def manifest_hits(root: Map, scaled: set[str], written: Written | None) -> Iterator[Hit]:
    """`scaled`: names of workloads whose replicas an autoscaler sets."""
    kind = root.text("kind")
    if kind == "Secret":
        yield from _secret_hits(root)
    elif kind == "ConfigMap":
        for name, node in root.map("data").values.items():
            if isinstance(node, Scalar):
                yield from secret_hit(name, node.text, node, len(node.text))
    elif kind in _POD:
        pod = root.map(*_POD[kind], "spec")
        programs = list(_containers(pod))
        for container, program in programs:
            variables = _environment(container)
            yield from literal_hits(variables)
            yield from shadow_hits(variables)
            yield from program_hits(program)
            if program.is_litellm:
                yield from unwritten_hits(variables, written)
        proxies = [container for container, program in programs if program.is_litellm]
        if proxies and kind in ("Deployment", "StatefulSet", "Rollout"):
            yield from rollout_hits(root, pod, proxies, root.text("metadata", "name") in scaled)


def autoscaled(node: Map) -> Iterator[str]:
    """Names of workloads that this object scales."""
    if node.text("kind") in ("HorizontalPodAutoscaler", "ScaledObject"):
        yield node.text("spec", "scaleTargetRef", "name")


def _containers(pod: Map) -> Iterator[tuple[Map, Program]]:
    for container in (*pod.list("initContainers"), *pod.list("containers")):
        if isinstance(container, Map):
            command, args, image = container.at("command"), container.at("args"), container.at("image")
            yield (
                container,
                Program(
                    container,
                    text_of(image),
                    image if isinstance(image, Scalar) else container,
                    words_of(command),
                    words_of(args),
                    command or args or container,
                ),
            )


def _environment(container: Map) -> list[Variable]:
    found = []
    for each in container.list("env"):
        if isinstance(each, Map):
            value = each.at("value")
            elsewhere = not isinstance(value, Scalar)
            text = text_of(value)
            found.append(Variable(each.text("name"), None if elsewhere else text, value or each, text))
    return found


def _secret_hits(root: Map) -> Iterator[Hit]:
    if root.at("sops") is not None:  # encrypted by SOPS
        return
    for section in ("data", "stringData"):
        for name, node in root.map(section).values.items():
            value = text_of(node)
            if section == "data":
                value = _decoded(value)
            if value and _is_secret(name, value):
                message = f"this value is key text{' in base64' if section == 'data' else ''} (not printed)"
                yield hit(SECRET_MANIFEST, node, message, width=len(text_of(node)))


def _is_secret(name: str, value: str) -> bool:
    found = [key for key in literal_keys(value) if not is_stand_in(key)]
    return bool(found) or (holds_secret(name) and is_written_out(value))


def _decoded(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode("utf-8", errors="replace")
    except (binascii.Error, ValueError):
        return ""
