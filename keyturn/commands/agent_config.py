"""keyturn agent-config: what a sidecar or an operator needs, to render a proxy's keys for `keyturn exec --env-file`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from keyturn.commands.exits import Exit, console, leave, reported
from keyturn.commands.options import duration
from keyturn.config import load
from keyturn.delivery.agent import Choices, Plan, external_secrets, injector, vault_agent, vault_secrets
from keyturn.delivery.agent.wanted import AWS, VAULT
from keyturn.errors import MisconfiguredError

_WRITERS: Mapping[str, tuple[tuple[str, ...], Callable[[Plan], Mapping[str, str]]]] = {
    "agent": ((VAULT,), vault_agent),
    "injector": ((VAULT,), injector),
    "eso": ((VAULT, AWS), external_secrets),
    "vso": ((VAULT,), vault_secrets),
}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_MOUNT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_./-]{0,126}")


def agent_config(
    proxy: str,
    renderer: str,
    out: Path | None,
    role: str | None,
    auth_mount: str | None,
    account: str,
    interval: str,
    rendered: str | None,
    logins: str,
) -> None:
    """Write the files into a folder, or print them."""
    with reported():
        for option, text, form in (
            ("--role", role, _NAME),
            ("--service-account", account, _NAME),
            ("--auth-mount", auth_mount, _MOUNT),
        ):
            if text is not None and not form.fullmatch(text):
                raise MisconfiguredError(f"{option} is no name of that kind", remedy="use letters, digits, - and _")
        choices = Choices(
            duration("--interval", interval),
            role,
            auth_mount,
            account,
            _path("--rendered", rendered) if rendered is not None else None,
            _path("--logins", logins),
        )
        kinds, write = _WRITERS[renderer]
        files = write(Plan.of(load(), proxy, kinds, choices))
        if out is not None:
            _into(out, files)
    if out is None:
        sys.stdout.write("\n".join(f"# {name}\n{text}" for name, text in files.items()))
    leave(Exit.DONE)


def _path(option: str, text: str) -> PurePosixPath:
    path = PurePosixPath(text)
    if not path.is_absolute() or not text.isprintable():
        raise MisconfiguredError(f"{option} must be an absolute path", remedy="say where it is in the member's host or pod")
    return path


def _into(folder: Path, files: Mapping[str, str]) -> None:
    failure = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = folder / name
            path.write_text(text)
            if path.suffix == ".sh":
                path.chmod(0o755)
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if failure:
        raise MisconfiguredError(f"{folder} cannot be written to: {failure}", remedy="name another folder with --out")
    for name in files:
        console.print(f"wrote {folder / name}")
