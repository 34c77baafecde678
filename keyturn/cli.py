"""The command line. Nothing heavy is imported here: each command imports what it needs when it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from keyturn.commands import audit_group, metrics_typed
from keyturn.commands.choices import Delivery, Kind, Level, Renderer, Report, Style, Who
from keyturn.commands.incidents import incidents
from keyturn.commands.pool_group import pool
from keyturn.discreet import Discreet
from keyturn.evidence import Waiver
from keyturn.lifecycle import Policy, Reason

HELP = """Rotate the provider keys behind LiteLLM proxies: create, write, prove, roll, revoke.

keyturn.yaml is read from the current folder, from $KEYTURN_CONFIG, or from --config; for the environment that --environment
or $KEYTURN_ENVIRONMENT names.
"""

EPILOG = (
    "Exit codes: 0 done, or nothing to do. 1 a fault of keyturn's. 2 wrong usage or keyturn.yaml. "
    "3 stopped before the new key was promoted: the old one is served. "
    "4 stopped after it: run again, it goes on there. 5 rotated, and the old key is not revoked yet. "
    "6 something is not well, or could not be done (every other command). "
    "7 the proxies did not take the new key, and the previous one is served again."
)

app = typer.Typer(
    name="keyturn",
    cls=Discreet,
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


_OF_FILES = ("env_file", "render_timeout", "deliver", "keys_folder", "any_version")
_OF_PROOF = ("prove_timeout", "prove_at_start")

Name = Annotated[str, typer.Argument(help="A credential of keyturn.yaml.", metavar="NAME")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


@app.callback()
def _configuration(
    config: Annotated[Path | None, typer.Option(help="The keyturn.yaml to use.", metavar="FILE")] = None,
    environment: Annotated[str | None, typer.Option(help="The environment to use it for.", metavar="NAME")] = None,
) -> None:
    if environment is not None:
        os.environ["KEYTURN_ENVIRONMENT"] = environment
    if config is not None:
        if not config.is_file():
            raise typer.BadParameter("there is no such file")
        os.environ["KEYTURN_CONFIG"] = str(config)


@app.command()
def rotate(
    names: Annotated[list[str] | None, typer.Argument(help="Credentials of keyturn.yaml.", metavar="NAME...")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every credential.")] = False,
    provider: Annotated[str | None, typer.Option(help="Every credential of this provider.", metavar="NAME")] = None,
    due: Annotated[
        bool, typer.Option("--due", help="Of these, or of all, what is due by its schedule or age, as a schedule begins it.")
    ] = False,
    reason: Annotated[Reason, typer.Option(help="Why; kept with the rotation.")] = Reason.MANUAL,
    overlap: Annotated[str | None, typer.Option(help="How long the old key lives on, such as 0s or 24h.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, create nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Of one: stay until the old key is refused.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rotate keys now: one, or many side by side. What an earlier run left half-way is finished first."""
    if len(names or ()) == 1 and not (every or provider or due):
        from keyturn.commands.rotate import rotate as command

        command((names or [""])[0], reason.value, overlap, dry_run, wait, as_json)
    from keyturn.commands.rotate_many import Typed, rotate_many

    rotate_many(Typed(tuple(names or ()), every, provider, due, reason.value, overlap, dry_run), wait, as_json)


@app.command()
def respond(
    names: Annotated[list[str] | None, typer.Argument(help="Credentials of keyturn.yaml.", metavar="CREDENTIAL...")] = None,
    policy: Annotated[
        Policy,
        typer.Option(help="Prove the new key first, or revoke the leaked one first, which is an outage until then."),
    ] = Policy.CONFIGURED,
    fingerprint: Annotated[
        str | None, typer.Option(help="Of the leaked key, 16 hex digits; never the key itself.", metavar="DIGITS")
    ] = None,
    ask_key: Annotated[
        bool,
        typer.Option("--ask-key", help="Ask for the leaked key unseen, or read it from standard input."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Keys have leaked: replace them now, side by side, and see the old ones refused."""
    from keyturn.commands.respond import respond as command

    command(names or [], policy.value, fingerprint, ask_key, as_json)


@app.command()
def approve(
    name: Name,
    deny: Annotated[bool, typer.Option("--deny", help="Say no: the old key is kept until somebody says yes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say that the old key that waits for an answer may be revoked, and revoke it where its time has come."""
    from keyturn.commands.approve import approve as command

    command(name, deny, as_json)


@app.command()
def retire(
    name: Name,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the end of the overlap.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Do without evidence that cannot be had; say why: --reason.")
    ] = False,
    reason: Annotated[
        Waiver | None,
        typer.Option(
            help="With --force: the members that cannot be asked are gone; the use that the provider reports is explained; "
            "or the key has leaked."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Revoke the old key of the last rotation, on evidence that nothing uses it."""
    from keyturn.commands.rotate import retire as command

    command(name, now, force, reason, as_json)


@app.command()
def rollback(name: Name, as_json: AsJson = False) -> None:
    """Serve the previous key again, while it is held; nothing is begun by itself after that."""
    from keyturn.commands.rotate import rollback as command

    command(name, as_json)


@app.command()
def sweep(as_json: AsJson = False) -> None:
    """Look at every credential now: finish, retire, rotate what is due, revoke strays, tell what disagrees."""
    from keyturn.commands.sweep import sweep as command

    command(as_json)


@app.command()
def put(name: Name, as_json: AsJson = False) -> None:
    """Create the secrets of a credential that are missing, with the key in use today: from standard input, or asked for."""
    from keyturn.commands.put import put as command

    command(name, as_json)


app.add_typer(pool, name="pool")


app.add_typer(audit_group.app, name="audit")
app.command()(metrics_typed.metrics)


@app.command()
def plan(name: Name, as_json: AsJson = False) -> None:
    """What a rotation would do: calls and permissions. Touches nothing."""
    from keyturn.commands.look import plan as command

    command(name, as_json)


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="One credential; else all.", metavar="[NAME]")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[str, typer.Option(help="With --watch: how often.")] = "30s",
    as_json: AsJson = False,
) -> None:
    """Where every credential stands, and what comes next."""
    from keyturn.commands.look import status as command
    from keyturn.commands.watch import watched

    if watch:
        watched(name, every, as_json)
    command(name, as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Try every endpoint and permission, and say what to do about each that is not well."""
    from keyturn.commands.look import doctor as command

    command(as_json)


@app.command()
def providers(
    kind: Annotated[str | None, typer.Argument(help="One kind, in full; else all.", metavar="[KIND]")] = None,
    as_json: AsJson = False,
    page: Annotated[bool, typer.Option("--page", help="As the page docs/providers.md.")] = False,
) -> None:
    """What each kind of provider can and cannot promise, the permission it needs, and how its facts are known."""
    from keyturn.commands.providers import providers as command

    command(kind, as_json, page)


@app.command("exec", context_settings={"allow_interspersed_args": False})
def exec_(
    context: typer.Context,
    proxy: Annotated[str, typer.Option(help="The proxies of keyturn.yaml that this is a member of.")],
    command: Annotated[list[str], typer.Argument(help="The program, after --.", metavar="-- COMMAND...")],
    control: Annotated[str | None, typer.Option(help="Supervise it, and take orders at this address.")] = None,
    token: Annotated[str, typer.Option(help="The control token, as a reference.")] = "env:KEYTURN_CONTROL_TOKEN",  # noqa: S107
    health: Annotated[str | None, typer.Option(help="HOST:PORT of a listener for health checks alone.")] = None,
    readiness: Annotated[str | None, typer.Option(help="When the program is ready; else from its --port.")] = None,
    drain: Annotated[str, typer.Option(help="Not ready for so long before the program is stopped.")] = "3s",
    grace: Annotated[str, typer.Option(help="How long the program may take to end.")] = "90s",
    start_timeout: Annotated[str, typer.Option(help="How long it may take to be ready, and a store to answer.")] = "180s",
    state: Annotated[Path | None, typer.Option(help="Without --control: say here which versions it has.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep the last keys here, encrypted, for when a store is down.")] = None,
    cache_key: Annotated[str | None, typer.Option(help="What the cache is encrypted with, as a reference.")] = None,
    cache_max_age: Annotated[str, typer.Option(help="How old a key out of the cache may be.")] = "24h",
    env_file: Annotated[
        list[Path] | None, typer.Option(help="Read the keys here, where a sidecar renders them, not from the store.")
    ] = None,
    render_timeout: Annotated[str, typer.Option(help="How long a roll waits for the sidecar's render.")] = "6m",
    deliver: Annotated[
        Delivery, typer.Option(help="How the program gets its keys: once, or from files that it reads at each request.")
    ] = Delivery.environment,
    keys_folder: Annotated[Path | None, typer.Option(help="With --deliver file: where the key files are.")] = None,
    any_version: Annotated[bool, typer.Option("--any-version", help="Do not look at LiteLLM's version.")] = False,
    prove_timeout: Annotated[
        str, typer.Option(help="How long a new key is tried here before the old one is taken again; 0s: not at all.")
    ] = "30s",
    prove_at_start: Annotated[
        bool, typer.Option("--prove-at-start", help="Do not start with a key that the provider refuses or forbids.")
    ] = False,
) -> None:
    """Run a program with its keys in the environment.

    Without --control: read the current keys, and become the program. With --control, http://127.0.0.1:PORT or unix:/PATH:
    supervise it, and restart it gently when a key turns.
    """
    if control is None:
        _only_with("--control", context, "token", "health", "readiness", "drain", "grace", *_OF_FILES, *_OF_PROOF)
        from keyturn.commands.launch import launch

        launch(proxy, command, start_timeout, state, (cache, cache_key, cache_max_age))
        return
    if state is not None:
        raise typer.BadParameter("--state is without --control: the supervisor tells its status there")
    from keyturn.commands.supervise import Typed, supervise

    if (deliver is Delivery.file) != (keys_folder is not None):
        raise typer.BadParameter("--deliver file and --keys-folder FOLDER go together")
    caching = (cache, cache_key, cache_max_age)
    supervise(
        Typed(
            *(proxy, command, control, token, health, readiness, drain, grace, start_timeout, caching),
            *(env_file or [], render_timeout, keys_folder, any_version, prove_timeout, prove_at_start),
        )
    )


def _only_with(option: str, context: typer.Context, *names: str) -> None:
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"--{name.replace('_', '-')} goes with {option}")


@app.command()
def env(
    proxy: Annotated[str, typer.Option(help="The proxies of keyturn.yaml to print for.")],
    style: Annotated[Style, typer.Option("--format", help="How to print.")] = Style.shell,
    name: Annotated[str | None, typer.Option(help="With --format k8s: the name of the Secret.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print keys to a terminal, too.")] = False,
) -> None:
    """Print a proxy's current keys as variables, for another launcher."""
    from keyturn.commands.deliver import environment

    environment(proxy, style.value, name, show)


@app.command()
def policy(
    kind: Annotated[Kind, typer.Argument(help="For which kind of store.")],
    who: Annotated[Who, typer.Option("--for", help="Whose permissions.")] = Who.rotator,
    store: Annotated[str | None, typer.Option(help="Which store, where keyturn.yaml has several of the kind.")] = None,
    proxy: Annotated[str | None, typer.Option(help="Of one of the proxies, instead of all.")] = None,
    account: Annotated[str | None, typer.Option(help="The AWS account of the secrets.")] = None,
    kms_key: Annotated[str | None, typer.Option(help="The ARN of the secrets' own KMS key.")] = None,
    create: Annotated[bool, typer.Option("--create", help="With what keyturn put needs.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="With what a key ring needs to be told of changes.")] = False,
    service_account: Annotated[
        str | None,
        typer.Option(
            help="Kubernetes: whom the Role is bound to, where it is in another namespace.", metavar="[NAMESPACE/]NAME"
        ),
    ] = None,
) -> None:
    """Print the least permissions for this keyturn.yaml: an IAM policy, a Vault policy, RBAC."""
    from keyturn.commands.policy import policy as command
    from keyturn.commands.policy_asked import Asked

    command(Asked(kind.value, who.value, store, proxy, account, kms_key, create, watch, service_account))


@app.command("agent-config")
def agent_config(
    proxy: Annotated[str, typer.Option(help="The proxies of keyturn.yaml whose keys are to be rendered.")],
    renderer: Annotated[Renderer, typer.Option("--for", help="What renders them.")] = Renderer.agent,
    out: Annotated[Path | None, typer.Option(help="The folder to write to; else it is printed.", metavar="FOLDER")] = None,
    role: Annotated[str | None, typer.Option(help="The role it logs in to Vault with, by Kubernetes.")] = None,
    auth_mount: Annotated[str | None, typer.Option(help="Where Vault has that login.")] = None,
    service_account: Annotated[str, typer.Option(help="The pods' service account.")] = "litellm",
    interval: Annotated[str, typer.Option(help="How often the secret is looked at.")] = "30s",
    rendered: Annotated[str | None, typer.Option(help="Where the rendered file will be.", metavar="PATH")] = None,
    logins: Annotated[str, typer.Option(help="Where the agent's role-id and secret-id are.")] = "/etc/keyturn",
) -> None:
    """Write what a sidecar or operator needs to render a proxy's keys for `exec --env-file`."""
    from keyturn.commands.agent_config import agent_config as command

    command(proxy, renderer.value, out, role, auth_mount, service_account, interval, rendered, logins)


@app.command()
def lint(
    paths: Annotated[list[Path], typer.Argument(help="Files, and folders to look into.", metavar="PATH...")],
    style: Annotated[Report, typer.Option("--format", help="How to print.")] = Report.human,
    fail_on: Annotated[Level, typer.Option(help="Exit with 6 for a finding as bad as that, or worse.")] = Level.error,
) -> None:
    """Check LiteLLM configurations, compose files, Kubernetes manifests and .env files. Needs no keyturn.yaml."""
    from keyturn.commands.lint import lint as command

    command(paths, style.value, fail_on.value)


@app.command()
def serve(
    limit: Annotated[int, typer.Option(help="Runs at once.", min=1)] = 10,
) -> None:
    """Serve the deployments of keyturn.yaml: schedules, the UI's button, the API."""
    from keyturn.commands.serve import serve as command

    command(limit)


app.add_typer(incidents, name="incidents")


@app.command()
def deploy(
    pool: Annotated[
        str | None, typer.Option(help="The work pool; else deploy.pool of keyturn.yaml.", metavar="NAME")
    ] = None,
    environment: Annotated[str | None, typer.Option(help="The environment; as before the command.", metavar="NAME")] = None,
    prune: Annotated[bool, typer.Option("--prune/--no-prune", help="Also remove what keyturn.yaml has no longer.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the deployments of keyturn.yaml for the workers of a work pool. Changes what has changed, and nothing else."""
    if environment is not None:
        os.environ["KEYTURN_ENVIRONMENT"] = environment
    from keyturn.commands.deploy import deploy as command

    command(pool, prune, dry_run, as_json)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running, and print the UI's address.")] = False,
    folder: Annotated[Path, typer.Option(help="Where logs and the report go.")] = Path("var/demo"),
) -> None:
    """Rotate a key under live traffic, with everything embedded: no account, no Docker, no root."""
    from keyturn.commands.demo import demo as command

    command(keep, folder)


def main() -> None:
    """The entry point of the `keyturn` program."""
    app()
