"""keyturn providers: what each kind can and cannot promise, and how that is known. Nothing is asked of anybody."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from keyturn.commands.exits import Exit, console, leave, print_data, reported
from keyturn.errors import MisconfiguredError
from keyturn.providers.page import page as made_page
from keyturn.providers.told import SHAPES, Told, told
from keyturn.registry import adapter_class, kinds


def providers(kind: str | None, as_json: bool, page: bool) -> None:
    """All kinds, or one of them in full. `page`: as docs/providers.md has it."""
    with reported(as_json):
        found = told({name: adapter_class("providers", name) for name in kinds("providers")})
        if kind is not None:
            found = [each for each in found if each.kind == kind]
            if not found:
                raise MisconfiguredError("no kind of provider of that name", remedy="`keyturn providers` lists them")
    if page:
        sys.stdout.write(made_page(found))
    elif as_json:
        print_data([each.facts_as_data() for each in found])
    elif kind is not None:
        _print_one(found[0])
    else:
        console.print(_table(found))
    leave(Exit.DONE)


def _table(found: Sequence[Told]) -> Table:
    table = Table("kind", "vendor", "shape", "list", "disable", "last use", "expiry", "most keys", "checks", "facts")
    for each in found:
        if each.facts is None:
            table.add_row(each.kind, "not told", *("",) * 8)
            continue
        can = each.promises
        rest = [can[name] for name in ("list", "disable", "last use", "expiry", "most keys")]
        table.add_row(each.kind, each.facts.vendor, each.facts.shape.value, *rest, each.checked, each.known)
    return table


def _print_one(each: Told) -> None:
    if each.facts is None:
        console.print(f"[bold]{each.kind}[/]: its adapter tells nothing of itself")
        return
    facts = each.facts
    console.print(f"[bold]{each.kind}[/]: {escape(facts.vendor)}. {SHAPES[facts.shape]}.")
    console.print(f"needs: {escape(facts.login)}")
    for may, needs, by, known in each.permissions:
        console.print(f"to {may} keys: {escape(needs)}. doctor checks it by: {escape(by)} ({known})")
    if facts.models:
        console.print(f"LiteLLM: {escape(facts.models)}, reads {', '.join(facts.variables) or 'no variable of its own'}")
    if facts.makes_logins:
        console.print("keyturn's own login there can be rotated: docs/own-credentials.md")
    for name, can in each.promises.items():
        if can:
            console.print(f"{name}: {escape(can)}")
    if facts.keyless:
        console.print(f"without a key: {escape(facts.without_a_key)}")
    for risk in facts.risks:
        console.print(f"[yellow]note:[/] {escape(risk)}")
    for source in facts.sources:
        console.print(f"{source.known.value}: {escape(source.where)} ({escape(source.what)})")
