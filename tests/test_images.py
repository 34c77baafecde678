"""The images' recipes: a linter of Dockerfiles takes them, and their entrypoints are calls that keyturn knows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keyturn.delivery.lean.call import launcher_call

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "deployments").glob("*Dockerfile"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_the_linter_takes_it(recipe: Path) -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(program), "--no-color", str(recipe)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_would_say_so() -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [str(program), "-"], input="FROM debian:latest\nRUN cd /\n", text=True, capture_output=True, check=False
    )
    assert done.returncode != 0


def test_the_bootstrap_image_takes_the_short_way_and_becomes_litellm() -> None:
    text = (ROOT / "deployments" / "bootstrap.Dockerfile").read_text()
    words = [json.loads(found) for found in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE)]
    call = launcher_call([*words[0][1:], *words[1]])
    assert call is not None and call.proxy == "prod"
    assert call.command[0] == "/opt/litellm/bin/litellm"
