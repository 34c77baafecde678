"""keyturn status, keyturn plan, keyturn doctor: looking, and touching nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NoReturn

from rich.markup import escape
from rich.table import Column, Table

from keyturn import durations
from keyturn.assembly import Adapters, Assembly, assemble
from keyturn.audit.writer import audit_log
from keyturn.commands.exits import Exit, console, leave, print_data, reported
from keyturn.commands.look_fleets import fleet_findings
from keyturn.commands.look_leases import LeaseSeen, lease_facts, lease_findings, lease_plan, leases_seen, leases_table
from keyturn.commands.look_prefect import prefect_findings
from keyturn.config import Config, load
from keyturn.errors import KeyturnError
from keyturn.key_age import KeyAge, key_age, short
from keyturn.key_parts import taken_apart
from keyturn.lifecycle import Asked, Decision, Observed, Step
from keyturn.model import Finding, Stage
from keyturn.order import held_up
from keyturn.ports import Replacing
from keyturn.providers.facts import Facts
from keyturn.quiet import hold_vendor_loggers
from keyturn.steps.in_place import in_place, old_text_lives
from keyturn.steps.login_age import Age, LoginAge, login_ages
from keyturn.steps.preflight import examine
from keyturn.steps.standing import Standing, standing


async def _standing(c: Assembly) -> Standing:
    found = await standing(c, Asked(datetime.now(UTC), overlap=c.settings.overlap, max_age=c.settings.max_age))
    held = await held_up(c, found.seen) if found.is_seen else None
    return found if held is None else replace(found, held_up=held.sentence, held_up_for_long=held.for_long)


def status(name: str | None, as_json: bool) -> None:
    """Every credential, or one: what is current, what is half-way, what comes next."""
    hold_vendor_loggers()
    with reported(as_json):
        config = load()
        tokens = [each for each in config.leases if name in (None, each)]
        names = [] if name in config.leases else [name] if name else list(config.credentials)
        for asked in names:
            config.credential(asked)
        found, ages, leased = asyncio.run(_all(config, names, tokens))
    ages_of = {each.credential: key_age(config.credential(each.credential), each.seen) for each in found}
    if as_json:
        logins = {each.provider: each for each in ages}
        facts = {
            each.credential: {
                **_facts(each),
                **_age_facts(ages_of[each.credential]),
                "login": _login(logins.get(config.credential(each.credential).provider)),
            }
            for each in found
        }
        print_data(facts | {each.name: lease_facts(each) for each in leased})
    else:
        if found or not leased:
            console.print(_table(found, ages_of))
        if leased:
            console.print(leases_table(leased))
        for each in found:
            for problem in each.seen.problems:
                console.print(f"[yellow]{each.credential}[/]: " + escape(problem))
            if each.held_up:
                colour = "red" if each.held_up_for_long else "yellow"
                console.print(f"[{colour}]{each.credential}[/]: by schedule it " + escape(each.held_up))
        for login in ages:
            colour = {Age.FINE: "green", Age.OVER: "red"}.get(login.age, "yellow")
            console.print(f"[{colour}]login of {login.provider}[/]: {login.age}: " + escape(login.sentence))
    is_well = not any(each.seen.problems for each in found) and all(each.is_well for each in leased)
    leave(Exit.DONE if is_well and not any(login.age is Age.OVER for login in ages) else Exit.NOT_WELL)


def plan(name: str, as_json: bool) -> None:
    """What a rotation would do now, call by call, with the permission each needs."""
    hold_vendor_loggers()
    with reported(as_json):
        config = load()
        if name in config.leases:
            _plan_of_lease(name, config, as_json)
        steps, found, risks = asyncio.run(_plan(config, name))
        risks += [*_users(config, name), *([f"by schedule it {found.held_up}"] if found.held_up else [])]
    problems = list(found.seen.problems)
    code = Exit.NOT_WELL if problems else Exit.DONE
    if as_json:
        print_data({"next": _facts(found)["next"], "steps": steps, "risks": risks, "problems": problems})
        leave(code)
    _print_plan(name, found.decision.sentence, steps, risks)
    for problem in problems:
        console.print("[red]not seen:[/] " + escape(problem))
    leave(code)


def _plan_of_lease(name: str, config: Config, as_json: bool) -> NoReturn:
    rows, notes = lease_plan(name, config.leases[name])
    if as_json:
        print_data({"steps": rows, "risks": notes})
    else:
        _print_plan(name, "a lease: its tokens end by themselves, and nothing is rotated", rows, notes)
    leave(Exit.DONE)


def _print_plan(name: str, sentence: str, steps: Sequence[Mapping[str, str]], notes: Sequence[str]) -> None:
    console.print(f"[bold]{name}[/]: {escape(sentence)}")
    table = Table("step", "where", "call", "permission")
    for row in steps:
        table.add_row(*(escape(row[column]) for column in ("step", "where", "call", "permission")))
    console.print(table)
    for note in notes:
        console.print(f"[yellow]note:[/] {escape(note)}")


def doctor(as_json: bool) -> None:
    """Every endpoint and permission of every credential, each with its remedy."""
    hold_vendor_loggers()
    with reported(as_json):
        config = load()
        found = asyncio.run(_doctor(config))
    if as_json:
        rows = [{"of": of, "what": f.what, "ok": f.ok, "detail": f.detail, "remedy": f.remedy} for of, f in found]
        print_data(rows)
    else:
        marks = {True: "[green]well[/]", False: "[red]not well[/]", None: "[yellow]unknown[/]"}
        for of, finding in found:
            words = escape(finding.detail)
            console.print(f"{marks[finding.ok]:<20} [bold]{of}[/] {escape(finding.what)}" + (f": {words}" if words else ""))
            if finding.ok is not True and finding.remedy:
                console.print("         remedy: " + escape(finding.remedy))
    leave(Exit.NOT_WELL if any(finding.ok is False for _, finding in found) else Exit.DONE)


async def _all(
    config: Config, names: list[str], leases: list[str]
) -> tuple[list[Standing], list[LoginAge], list[LeaseSeen]]:
    (found, ages), leased = await asyncio.gather(_together(config, names), leases_seen(config, leases))
    return found, ages, leased


async def _together(config: Config, names: list[str]) -> tuple[list[Standing], list[LoginAge]]:
    async def one(name: str) -> Standing:
        async with assemble(config, name) as c:
            return await _standing(c)

    providers = {config.credential(name).provider for name in names}
    found, ages = await asyncio.gather(asyncio.gather(*(one(name) for name in names)), _ages(config, providers))
    return list(found), ages


async def _ages(config: Config, providers: Collection[str] | None = None) -> list[LoginAge]:
    """How old the logins are of the providers of these names, or of all."""
    adapters = Adapters(config)
    try:
        return await login_ages(config, adapters.provider, datetime.now(UTC), providers)
    finally:
        await adapters.aclose()


def _login(age: LoginAge | None) -> dict[str, Any] | None:
    """None where nothing is known of a login, and keyturn.yaml names none."""
    if age is None:
        return None
    told = {"provider": age.provider, "age": age.age.value, "sentence": age.sentence}
    return {**told, "issued_at": age.life.issued_at, "expires_at": age.life.expires_at}


def _users(config: Config, name: str) -> list[str]:
    """Who else reads what this credential rotates, by this file."""
    read = "logs in with the same secret, which is read anew for each call: what is under way goes on with the new key"
    return [f"{each} {read}" for each in config.users_of(name)]


def _old_keys(seen: Observed) -> list[str]:
    """The ids of the keys that wait to be revoked; none as long as it cannot be seen which is current."""
    return list(seen.old_keys.values()) if seen.stages else []


def _facts(each: Standing) -> dict[str, Any]:
    journal = each.seen.journal
    return {
        "next": {"step": each.decision.step.value, "check": each.decision.check, "sentence": each.decision.sentence},
        "stages": {stage.value: version.fingerprint for stage, version in each.seen.stages.items()},
        "serving": {
            fleet: {member: version.fingerprint if version else None for member, version in members.items()}
            for fleet, members in each.seen.serving.items()
        },
        "lagging": list(each.seen.lagging),
        "keys": {"current": journal.current_key, "pending": journal.pending_key, "old": _old_keys(each.seen)},
        "promoted_at": journal.promoted_at,
        "proved_at": journal.proved_at,
        "retire_after": journal.retire_after,
        "proof": journal.proof,
        "failures": journal.failures,
        "failure": journal.failure,
        "parked": journal.parked,
        "strays": len(each.strays),
        "held_up": each.held_up,
        "problems": list(each.seen.problems),
    }


def _age_facts(age: KeyAge) -> dict[str, Any]:
    seconds = int(age.age.total_seconds()) if age.age is not None else None
    return {"age_seconds": seconds, "due_at": age.due_at, "overdue": age.is_overdue, "expires_at": age.expires_at}


def _table(found: list[Standing], ages: Mapping[str, KeyAge]) -> Table:
    table = Table(
        Column("credential", no_wrap=True),
        Column("current", no_wrap=True),
        "age",
        "due",
        "members",
        "evidence",
        "old key",
        "strays",
        "next",
    )
    for each in found:
        seen = each.seen
        members = [version for fleet in seen.serving.values() for version in fleet.values()]
        on = sum(1 for version in members if version is not None and version == seen.current)
        after, age = seen.journal.retire_after, ages[each.credential]
        table.add_row(
            each.credential,
            seen.stages[Stage.CURRENT].fingerprint if Stage.CURRENT in seen.stages else "-",
            short(age.age) if age.age is not None else "-",
            f"[red]{_when(age.due_at)}[/]" if age.is_overdue else _when(age.due_at),
            f"{'[green]' if on == len(members) else '[red]'}{on} of {len(members)}[/]",
            escape(seen.journal.proof) or "-",
            f"until {_when(after)}" if _old_keys(seen) and after else "-",
            f"[red]{len(each.strays)}[/]" if each.strays else "0",
            f"[red]{escape(_next(each))}[/]" if seen.journal.parked else escape(_next(each)),
        )
    return table


def _next(each: Standing) -> str:
    journal = each.seen.journal
    if journal.parked:
        return f"parked: {journal.parked}. By hand: {each.decision.sentence}"
    return f"{each.decision.sentence} (failed {journal.failures} times)" if journal.failures else each.decision.sentence


def _when(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"


async def _plan(config: Config, name: str) -> tuple[list[dict[str, str]], Standing, list[str]]:
    async with assemble(config, name) as c:
        found = await _standing(c)
        return _rows(c, found.decision), found, _risks(c)


# What each step calls: (which part, which verb). `journal` is the deciding secret, which holds the notes.
ORDER = {
    "observe": [("secrets", "stages"), ("journal", "annotations"), ("provider", "list"), ("fleets", "serving")],
    "create": [("provider", "create")],
    "write": [("secrets", "stage"), ("journal", "annotate")],
    "validate": [("provider", "check"), ("canary", "candidate")],
    "promote": [("secrets", "promote"), ("journal", "annotate")],
    "roll": [("fleets", "roll"), ("journal", "annotate")],
    "prove": [("canaries", "member"), ("provider", "last_used"), ("journal", "annotate")],
    "revoke": [
        ("secrets", "bar"),
        ("provider", "revoke"),
        ("provider", "check"),
        ("secrets", "discard"),
        ("journal", "annotate"),
    ],
}
# Where a rotation goes on that stands half-way; any other begins with a new key.
BEGIN = {
    Step.VALIDATE: "validate",
    Step.PROMOTE: "promote",
    Step.ROLL: "roll",
    Step.PROVE: "prove",
    Step.RETIRE: "revoke",
    Step.WAIT: "revoke",
}


def _rows(c: Assembly, decision: Decision) -> list[dict[str, str]]:
    """The calls of the steps that are left, in order. Adapters say what a verb calls and needs in `CALLS`."""
    if decision.step in (Step.NOTHING, Step.STOP):
        return []
    steps, parts = list(ORDER), _parts(c)
    first = steps.index(BEGIN.get(decision.step, "create"))
    rows = []
    for step in ["observe", *steps[first:]]:
        for part, verb in ORDER[step]:
            for where, adapter in parts[part].items():
                verb = "turn" if part == "provider" and verb == "create" and in_place(c) else verb
                verb = "replace" if verb == "roll" and isinstance(adapter, Replacing) else verb
                call, permission = getattr(adapter, "CALLS", {}).get(verb, (verb, "not told by this adapter"))
                rows.append({"step": step, "where": where, "call": call, "permission": permission})
    return rows


def _parts(c: Assembly) -> dict[str, Mapping[str, Any]]:
    secret, store = c.decider
    return {
        "provider": {c.settings.provider: c.provider},
        "secrets": {str(secret): store for secret, store in c.secrets},
        "journal": {str(secret): store},
        "fleets": dict(c.fleets),
        "canary": {c.settings.canary_proxy: c.canary},
        "canaries": dict(c.canaries),
    }


def _risks(c: Assembly) -> list[str]:
    can, facts = c.provider.capabilities, _facts_of(c)
    risks = [*facts.risks] if facts else []
    if facts and facts.keyless:
        risks.append(f"a static key may not be needed there: {facts.without_a_key}")
    if (lives := old_text_lives(c)) is not None:
        end = f"after {durations.text(lives)}" if lives else "at once: requests fail until every member is rolled"
        risks.append(f"the key in service is given a new text, which cannot be undone; its old one ends by itself {end}")
    if not can.can_check:
        risks.append("the provider does not tell whether it accepts a key: LiteLLM's answer is the only word on that")
    if not can.can_list:
        risks.append("the provider cannot list keys: a key whose create lost its answer cannot be found")
    if not can.supports_expiry:
        risks.append("the provider has no expiry: a lost key lives until it is found")
    if not can.reports_last_use:
        risks.append("the provider does not report a key's last use: the proxies' answers are the only evidence")
    if not can.can_disable:
        risks.append("the provider cannot disable a key: deleting it is final")
    if c.settings.fuse is None:
        risks.append("nothing is scheduled, so the new key is given no expiry")
    else:
        risks.append(f"the new key expires by itself after {durations.text(c.settings.fuse)}, unless rotated before")
    risks.append(f"the old key lives on for {durations.text(c.settings.overlap)} after the proof")
    return [*risks, c.settings.approval.told] if c.settings.approval else risks


def _facts_of(c: Assembly) -> Facts | None:
    """What the adapter tells of its vendor; None where it tells nothing, as a third party's may."""
    found = getattr(c.provider, "facts", None) or getattr(c.provider, "FACTS", None)
    return found if isinstance(found, Facts) else None


def _keyless(c: Assembly) -> list[Finding]:
    facts = _facts_of(c)
    return [Finding("without a key", True, facts.without_a_key)] if facts and facts.keyless else []


async def _form(c: Assembly) -> list[Finding]:
    """Whether each key of several parts can be taken apart: else nothing that is given it starts."""
    found = []
    for secret, store in c.secrets if c.parts else ():
        what = f"secret {secret}: its key has {len(c.parts)} parts"
        try:
            taken_apart((await store.current(secret)).material, c.parts)
            found.append(Finding(what, True, ", ".join(part.variable for part in c.parts)))
        except KeyturnError as error:
            found.append(Finding(what, False, error.message, error.remedy))
    return found


async def _doctor(config: Config) -> list[tuple[str, Finding]]:
    async def one(name: str) -> list[tuple[str, Finding]]:
        try:
            async with assemble(config, name) as c:
                return [(name, finding) for finding in (*await examine(c), *await _form(c), *_keyless(c))]
        except KeyturnError as error:
            return [(name, Finding("wiring", False, error.message, error.remedy))]

    rest = (prefect_findings(), _audit(config), _logins(config), fleet_findings(config), lease_findings(config))
    found = await asyncio.gather(*rest, *(one(name) for name in config.credentials))
    return [line for lines in found for line in lines]


async def _audit(config: Config) -> list[tuple[str, Finding]]:
    """Whether the log can be written, where there is to be one."""
    if config.audit is None:
        return []
    adapters = Adapters(config)
    try:
        (await audit_log(config.audit, adapters.resolve)).can_append()
        return [("audit", Finding("the log can be written", True))]
    except KeyturnError as error:
        return [("audit", Finding("the log can be written", False, error.message, error.remedy))]
    finally:
        await adapters.aclose()


async def _logins(config: Config) -> list[tuple[str, Finding]]:
    return [(f"provider {each.provider}", each.finding) for each in await _ages(config)]
