"""The README's first real rotation as a stranger walks it: its blocks, taken out of the page and typed in one shell."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyturn.material import KeyMaterial
from keyturn.testing.embedded import BUNDLE, Credential, Embedded, keyturn_program
from keyturn.testing.openbao import BINARY, OpenBao
from tests.e2e.conftest import ROOT
from tests.e2e.prefect_api import until
from tests.e2e.readme_page import FILES, SHOWN, Replaced, block, blocks, typed
from tests.e2e.shell import Shell

PROD = Credential(
    "openai-prod", "OPENAI_API_KEY", "gpt-4o-mini", {"store": "vault", "path": BUNDLE, "field": "OPENAI_API_KEY"}
)

# The proxy of the clone: one that is ready in half a second. It reads JSON, and LiteLLM YAML.
PROXY = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m keyturn.testing.stand_in "$@"\n'

# After the last block: the balancer is started, and asked.
THROUGH_THE_BALANCER = """
caddy run --adapter caddyfile --config Caddyfile >caddy.log 2>&1 &
key() { printf 'header = "Authorization: Bearer %s"\\n' "$LITELLM_MASTER_KEY"; }
until curl -sSf -K <(key) http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \
  -d '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}'; do sleep 0.2; done
"""


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Embedded]:
    """OpenAI and a Vault that nobody has set up."""
    found = Embedded(tmp_path / "parts", credentials=(PROD,), proxy="stand-in")
    try:
        found.start_provider()
        found.bao = OpenBao(found.processes, found.folder / "openbao")
        yield found
    finally:
        found.stop()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone after `make setup`."""
    folder = tmp_path / "clone"
    (folder / ".venv").mkdir(parents=True)
    (folder / ".venv" / "bin").symlink_to(keyturn_program().parent)
    for name in ("flows", "tasks", "deployments"):
        (folder / name).symlink_to(ROOT / name)
    program = folder / ".proxy" / "bin" / "litellm"
    program.parent.mkdir(parents=True)
    program.write_text(PROXY)
    program.chmod(0o755)
    return folder


def test_every_block_is_typed_a_file_or_in_a_table_and_what_is_replaced_is_there() -> None:
    typed()
    page = "".join(text for _, text in blocks())
    assert [each.was for each in Replaced("", "").table if each.was not in page] == []
    example = (ROOT / "deployments" / "litellm.example.yaml").read_text()
    assert yaml.safe_load(block("model_list:")) == yaml.safe_load(example), "the page says: copy it"


@pytest.mark.real
def test_every_command_of_the_first_rotation_does_what_the_page_says(parts: Embedded, clone: Path) -> None:
    here = Replaced(f"{parts.provider_url}/v1", parts.bao.address)
    for mark, name in FILES.items():
        (clone / name).write_text(here(block(mark)))
    (clone / "litellm.yaml").write_text(json.dumps(yaml.safe_load((clone / "litellm.yaml").read_text())))
    first = KeyMaterial(parts.first_keys[PROD.name]).fingerprint()
    environ = {"HOME": str(clone), "PREFECT_RUNNER_POLL_FREQUENCY": "1", **parts.loopback}
    environ |= {"PATH": f"{BINARY.parent}:{os.environ['PATH']}"}
    environ |= {"BAO_ADDR": parts.bao.address, "BAO_TOKEN": parts.bao.root.token}
    texts = [here(text) for text in (*typed(), THROUGH_THE_BALANCER)]
    with Shell(clone, environ, [parts.environ["OPENAI_ADMIN_KEY"], parts.first_keys[PROD.name]]) as shell:
        said = by_command(texts, shell.type(texts))
        looked, _, rotated = said["keyturn doctor"].partition("planned: ")
        assert "not well" not in looked and "nothing in the way" in looked
        shown = here(block(SHOWN)).splitlines()
        assert [alike(line) for line in rotated.splitlines()[1:]] == [alike(line) for line in shown]
        too_early, _, retired = said["keyturn retire"].partition("nothing to do: the overlap lasts")
        assert "deleted" not in too_early and "rotated, old key refused" in retired
        assert "served-by" in said["caddy run"]
        # The last block has asked for a rotation because of an incident, by the API.
        until(lambda: True if len(made(parts)) == 2 and len(accepted(parts)) == 1 else None)
    now = KeyMaterial(parts.current(PROD)).fingerprint()
    assert accepted(parts) == [now] and now != first


def by_command(texts: Sequence[str], said: Sequence[str]) -> dict[str, str]:
    """What a block has printed, by the first two words of each of its lines."""
    return {" ".join(line.split()[:2]): out for text, out in zip(texts, said, strict=True) for line in text.splitlines()}


def made(parts: Embedded) -> list[dict[str, Any]]:
    return [key for key in parts.provider_keys() if key["name"].startswith(f"keyturn-{PROD.name}-")]


def accepted(parts: Embedded) -> list[str]:
    return [key["fingerprint"] for key in parts.provider_keys() if key["accepted"]]


def alike(line: str) -> str:
    """A line without what is another at each rotation."""
    for what in (r"^[\d:]{8}", r"key_\w+", r"-[0-9a-f]{6}-[0-9a-f]{12}", r"\d{4}-\d\d-\d\d [\d:]{8}"):
        line = re.sub(what, "*", line)
    return line
