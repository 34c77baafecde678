"""Texts of keyturn.yaml inside other languages: HCL, Go templates, YAML. What stands in them means nothing there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from typing import Any

import yaml

from keyturn.errors import MisconfiguredError

_PLAIN_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def hcl(text: str) -> str:
    """A text of HCL 1, which Vault Agent reads. `${` would begin an expression in it, so the dollar sign is spelt out."""
    if not text.isprintable():
        raise MisconfiguredError(
            "a path or name has characters in it that cannot be seen", remedy="use others in keyturn.yaml"
        )
    return json.dumps(text, ensure_ascii=False).replace("${", "\\u0024{")


def go(text: str) -> str:
    """A text of a Go template. (JSON's escapes are Go's, but for those of half a character, which are not made here.)"""
    return json.dumps(text, ensure_ascii=False)


def consul_line(variable: str, field: str) -> str:
    """`NAME='VALUE'` for Vault Agent's templates (Consul Template), with the secret's data in `.Data.data`.

    A field that is not there is an error where its name is plain (with `error_on_missing_key`); of another one the line is
    left out, for Go knows no other way to ask for it.
    """
    quoted = r"""replaceAll "\\" "\\\\" | replaceAll "'" "\\'" """.strip()
    if _PLAIN_FIELD.fullmatch(field):
        return f"{variable}='{{{{ .Data.data.{field} | {quoted} }}}}'\n"
    return f"{{{{ with index .Data.data {go(field)} }}}}{variable}='{{{{ . | {quoted} }}}}'\n{{{{ end -}}}}\n"


def sprig_line(variable: str, expression: str) -> str:
    """`NAME='VALUE'` for templates that have Sprig's functions: both operators'."""
    quoted = r"""replace "\\" "\\\\" | replace "'" "\\'" """.strip()
    return f"{variable}='{{{{ {expression} | {quoted} }}}}'\n"


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, for people to read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def documents(comment: str, found: Sequence[Any]) -> str:
    """YAML, with a comment above it."""
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    return head + yaml.dump_all(found, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def entrypoint(proxy: str, env_files: Sequence[str]) -> str:
    """The line that starts a member on what is rendered. Its arguments are the program."""
    files = " ".join(f"--env-file {shlex.quote(each)}" for each in env_files)
    return (
        "#!/bin/sh\n"
        "# The member: it waits for the rendered keys, and a roll for their next render. The arguments are the program:\n"
        "#   entrypoint.sh litellm --config /etc/litellm/config.yaml --port 4000\n"
        f"exec keyturn exec --proxy {shlex.quote(proxy)} {files} \\\n"
        '  --control "${KEYTURN_CONTROL:-http://127.0.0.1:4100}" -- "$@"\n'
    )
