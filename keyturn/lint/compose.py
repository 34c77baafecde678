"""Docker Compose: what each service is given, how it is started, and how long it may take to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from keyturn.delivery.aliases import FAMILIES
from keyturn.lint.catalogue import SHADOWED, SHORT_STOP
from keyturn.lint.dotenv import parsed
from keyturn.lint.environment import Variable, literal_hits, secret_hit, shadow_hits, unwritten_hits
from keyturn.lint.finding import Hit, hit
from keyturn.lint.programs import Program, needed_to_stop, program_hits, seconds, words_of
from keyturn.lint.secret_values import after_compose
from keyturn.lint.source import is_regular, read
from keyturn.lint.tree import Items, Map, Node, Scalar, named, text_of, walk
from keyturn.lint.written import Written

_DOCKERS_OWN = 10.0  # seconds, where a service says nothing
_LEAST = 30.0  # LiteLLM's own cap on finishing, where it has one


def is_compose(node: Map) -> bool:
    services = node.at("services")
    return isinstance(services, Map) and all(
        isinstance(each, Map) or text_of(each) == "" for each in services.values.values()
    )


def compose_hits(root: Map, written: Written | None) -> Iterator[Hit]:
    told: set[int] = set()
    services = root.map("services")
    for name, service in named(services.values):
        program = _program(service, services.keys[name])
        variables = environment(service.at("environment"))
        told |= {id(each.spot) for each in variables}
        yield from literal_hits(variables)
        yield from shadow_hits(variables)
        yield from program_hits(program)
        if program.is_litellm:
            yield from unwritten_hits(variables, written)
            yield from _stop_hits(service, program)
    for name, _, node in walk(root):  # what stands in x- sections, build arguments, labels
        if isinstance(node, Scalar) and id(node) not in told:
            yield from secret_hit(name, after_compose(node.text), node, len(node.text))


def env_files(root: Map, folder: Path) -> Iterator[Path]:
    """The files that services take variables from, where they are there."""
    for _, service in named(root.map("services").values):
        yield from _files_of(service, folder)


def file_hits(root: Map, folder: Path) -> Iterator[Hit]:
    """Names that shadow each other, one in a service and one in a file of its."""
    services = root.map("services")
    for name, service in named(services.values):
        beside = {each.name for each in environment(service.at("environment")) if each.is_set}
        for path in _files_of(service, folder):
            within = {each.name for each in parsed(read(path).lines) if each.is_set}
            for family in FAMILIES:
                both = [each for each in family if each in beside | within]
                if len(both) > 1 and beside.intersection(family) and within.intersection(family) - beside:
                    told = f"LiteLLM reads {both[0]} before {' and '.join(both[1:])}: set in an env_file and beside it"
                    yield hit(SHADOWED, services.keys[name], told)


def _files_of(service: Map, folder: Path) -> Iterator[Path]:
    node = service.at("env_file")
    for each in node.items if isinstance(node, Items) else [node]:
        text = each.text("path") if isinstance(each, Map) else text_of(each)
        if text and "$" not in text and "\0" not in text and len(text) < 1000 and is_regular(folder / text):
            yield folder / text


def environment(node: Node | None) -> list[Variable]:
    """The variables of `environment`, in either of its forms. One without a value comes from Compose's own environment."""
    if isinstance(node, Map):
        return [
            Variable(name, None if each.is_null else after_compose(each.text), each, each.text)
            for name, each in node.values.items()
            if isinstance(each, Scalar)
        ]
    found = []
    for each in node.items if isinstance(node, Items) else []:
        if isinstance(each, Scalar):
            name, equals, value = each.text.partition("=")
            found.append(Variable(name, after_compose(value) if equals else None, each, value))
    return found


def _program(service: Map, key: Scalar) -> Program:
    entry, command, image = service.at("entrypoint"), service.at("command"), service.at("image")
    return Program(
        key,
        text_of(image),
        image if isinstance(image, Scalar) else key,
        words_of(entry),
        words_of(command),
        command or entry or key,
    )


def _stop_hits(service: Map, program: Program) -> Iterator[Hit]:
    node = service.at("stop_grace_period")
    given = seconds(text_of(node)) if text_of(node) else _DOCKERS_OWN
    options = program.supervised
    needed = _LEAST if options is None else needed_to_stop(options)
    if given is not None and given < needed:
        spot = node or program.spot
        what = (
            "nothing says how long this service may take to end: Docker waits 10 s" if node is None else "this is too short"
        )
        yield hit(SHORT_STOP, spot, what if options is None else f"{what}, and this member may need {needed:g} s")
