"""docs/providers.md, made of what the adapters tell of themselves: `keyturn providers --page`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keyturn.providers.told import SHAPES, Told
from keyturn.providers.vendor import VendorSettings

_PROMISES = ("list", "disable", "last use", "expiry", "most keys", "in place")
_HEAD = """# Providers

Made by `keyturn providers --page` of what the adapters tell of themselves; `make docs` writes it anew.

Each fact has a source. **verified**: from the vendor's SDK, API description or page. **secondary**: from somebody else's.
**recalled**: nobody could verify it, so it is a setting, with this as its default. No vendor was called for any of it: the
suites run against simulators that the vendors' own SDKs and descriptions hold to the truth
([testing.md](testing.md)). The settings `login_...` are of what keyturn itself logs in with:
[own-credentials.md](own-credentials.md#the-age-watch). One of your own:
[adding-a-provider.md](adding-a-provider.md), or without code the kind `http`.

## Permissions

For each kind there is the least permission that the management credential needs, and whether `keyturn doctor`, and each
rotation before it makes anything, can learn without any effect that the credential has it. What is **denied** stops a
rotation then; nothing was made. What **cannot be told** stops nothing: the finding says which permission to look for.
Listing is its own proof; a vendor that denies it to a credential that has just listed is not believed in the rest.
Nothing tries a create that is meant to fail: which a vendor looks at first, the permission or the request, was found
written nowhere.

## Shapes

How a key is turned depends on what the vendor's API lets one do.
"""


def page(kinds: Sequence[Told]) -> str:
    """The whole page."""
    return "\n".join((_HEAD, *_shapes(), *_overview(kinds), *(line for each in kinds if each.facts for line in _one(each))))


def _shapes() -> Iterator[str]:
    yield "| shape | what a rotation does |\n|---|---|"
    yield from (f"| `{shape.value}` | {words} |" for shape, words in SHAPES.items())
    yield ""


def _overview(kinds: Sequence[Told]) -> Iterator[str]:
    yield "## What each can promise\n"
    yield f"| kind | vendor | shape | {' | '.join(_PROMISES)} | `doctor` checks | facts |\n|{'---|' * (5 + len(_PROMISES))}"
    for each in kinds:
        if each.facts is not None:
            can = each.promises
            cells = [f"[`{each.kind}`](#{each.kind})", each.facts.vendor, f"`{each.facts.shape.value}`"]
            cells += [can[name] for name in _PROMISES]
            yield f"| {' | '.join(_cell(cell) for cell in (*cells, each.checked, each.known))} |"
    yield ""


def _one(told: Told) -> Iterator[str]:
    facts = told.facts
    if facts is None:
        return
    yield f"## {told.kind}\n"
    variables = ", ".join(f"`{name}`" for name in facts.variables)
    yield f"{facts.vendor}. Shape: {SHAPES[facts.shape]}. " + (
        f"LiteLLM: `{facts.models}`" + (f", reads {variables}." if variables else ".")
        if facts.models or not facts.makes_logins
        else "LiteLLM has no use for it: keyturn logs in with it."
    )
    yield f"\n**keyturn needs** {facts.login}.\n"
    if facts.makes_logins:
        yield "What keyturn logs in with there can be rotated as its keys are: [own-credentials.md](own-credentials.md).\n"
    if told.permissions:
        yield "| to do this with keys | the least permission | `doctor` checks it by | known |\n|---|---|---|---|"
        yield from (f"| {' | '.join(map(_cell, row))} |" for row in told.permissions)
        yield ""
    if facts.keyless:
        steps = f" [Steps](without-a-key.md#{facts.anchor})." if facts.steps else ""
        yield f"**Without a key:** {facts.keyless}.{steps}\n"
    if facts.risks:
        yield "What cannot be promised:\n"
        yield from (f"- {risk}" for risk in facts.risks)
        yield ""
    yield "| setting | type | default |\n|---|---|---|"
    yield from (f"| `{name}` | {_cell(kind)} | {_cell(default)} |" for name, kind, default in told.settings)
    for model in (told.adapter.Settings, VendorSettings):
        if issubclass(told.adapter.Settings, model) and model.__doc__:
            yield f"\n{_flat(model.__doc__)}"
    yield "\n| step | calls | permission |\n|---|---|---|"
    yield from (
        f"| {verb} | {_cell(call)} | {_cell(permission)} |" for verb, (call, permission) in told.adapter.CALLS.items()
    )
    if told.rows:
        yield "\n| answer to a call with a key | meaning | known |\n|---|---|---|"
        for row in told.rows:
            meaning = "**the key is dead**" if row.dead else "undecided"
            yield f"| `{row.text}` | {meaning}: {_cell(row.words)} | {row.known} |"
    if told.vendors:
        heads = ("vendor", "name", "LiteLLM", "reads", "a key is tried at", "a dead key", "known", "console")
        yield f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}"
        for name, row in told.vendors.items():
            reads, dead = (", ".join(f"`{each}`" for each in texts) for texts in (row.variables, row.dead))
            cells = (
                f"`{name}`",
                row.vendor,
                f"`{row.models}`",
                reads,
                row.check or "through LiteLLM",
                dead,
                row.known,
                row.console,
            )
            yield f"| {' | '.join(_cell(cell) for cell in cells)} |"
    yield "\nSources: " + "; ".join(f"{s.where} ({s.known.value}: {s.what})" for s in facts.sources) + ".\n"


def _flat(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
