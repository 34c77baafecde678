"""What every run does before and after its steps: wire the credential, take its turn, log and report."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from prefect.artifacts import acreate_markdown_artifact
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.logging import get_run_logger

from flows.asking import asking_prefect
from flows.logged import logged
from flows.turnstile import one_at_a_time
from keyturn import environments, faults
from keyturn.assembly import Adapters, Assembly, Line, assemble
from keyturn.config import load
from keyturn.errors import KeyturnError, UnavailableError
from keyturn.progress import listeners
from keyturn.quiet import hold_vendor_loggers
from keyturn.report import Ran, headline, markdown
from keyturn.steps.in_place import in_place
from tasks.policy import UnexpectedError, discreet


@asynccontextmanager
async def at_work(credential: str, adapters: Adapters | None = None) -> AsyncIterator[Assembly]:
    """The credential, wired, with nobody else at it. Its timeline becomes the run's artifact, also when the run fails.

    `adapters`: those of a run of many credentials. Of these one that fails has a page of its own. All others are a row of
    the run's table, and their timeline is the log of their task: a thousand pages would take longer than the rotations.
    """
    failure: KeyturnError | None = None
    begun = datetime.now(UTC)
    async with one_at_a_time(credential, many=adapters is not None), beside_others(credential, adapters) as c:
        try:
            yield c
        except KeyturnError as error:
            failure = error
            raise
        except Exception as error:
            failure = UnexpectedError(faults.describe(error), remedy="please report it")
            raise
        finally:
            if adapters is None or failure is not None:
                ran = Ran(
                    credential, begun, c.now(), c.timeline, c.ending, failure, c.evidence, _facts(c), in_place(c) is not None
                )
                key = artifact(f"rotation-{credential}")
                await keep_page(key, markdown(ran), f"{credential}: {headline(ran)}")


def _facts(c: Assembly) -> dict[str, str]:
    """What the run was asked for, and of what. Names and words."""
    named = {
        "environment": environments.named() or "",
        "provider": c.settings.provider,
        "secrets": ", ".join(str(secret) for secret, _ in c.secrets),
        "proxies": ", ".join(c.fleets),
    }
    return {name: said for name, said in (c.asked_for | named).items() if said}


@asynccontextmanager
async def beside_others(credential: str, adapters: Adapters | None = None) -> AsyncIterator[Assembly]:
    """The credential, wired, whoever else is at it: for what has to be done at once."""
    hold_vendor_loggers()
    config = adapters.config if adapters is not None else load()
    with logged(several_at_a_time=adapters is not None) as log:

        def listen(line: Line) -> None:
            log(line)
            for listener in listeners:
                listener(line)

        async with discreet(), assemble(config, credential, listen, adapters) as c:
            yield c


async def keep_page(key: str, page: str, description: str) -> None:
    """As an artifact. What became of the keys is the run's result, whether or not Prefect keeps the page about it."""
    try:
        with asking_prefect():
            await acreate_markdown_artifact(key=key, markdown=page, description=description)
    except (UnavailableError, TimeoutError) as error:
        get_run_logger().warning("the page could not be kept as an artifact: %s", error)


def artifact(name: str) -> str:
    """The key under which Prefect keeps this environment's page of that name."""
    return f"{environment}-{name}" if (environment := environments.named()) else name


def asked_at() -> datetime:
    """When this run was asked for, which may be long before it started: the schedule's time, or the call's."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return (run.expected_start_time if run else None) or datetime.now(UTC)


def tell(event: str, credential: str, **facts: str) -> None:
    """Emit `keyturn.<event>` for automations. Facts are references and words."""
    if environment := environments.named():
        facts = {**facts, "environment": environment}
    emit_event(event=f"keyturn.{event}", resource={"prefect.resource.id": f"keyturn.credential.{credential}"}, payload=facts)
