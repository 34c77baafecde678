"""Whatever stands in a file: the linter ends, points into the file, and tells no key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keyturn.lint.finding import Finding
from keyturn.lint.run import lint
from keyturn.lint.sarif import sarif
from tests.hostile import Changed, changed, fuzz, planted, tells, texts
from tests.lint.examples import EXAMPLES, deployment, litellm, service

CONFIG = yaml.safe_load(litellm(", api_key: os.environ/OPENAI_API_KEY"))
COMPOSE = yaml.safe_load(
    service("    command: [keyturn, exec, --, litellm]\n    env_file: [x.env]\n    environment: {GOOGLE_API_KEY: $X}\n")
)
WORKLOAD = yaml.safe_load(deployment(more="          env: [{name: A, value: b}]\n          livenessProbe: {}\n"))
SECRET = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "Yg=="}, "stringData": {"c": "d"}}
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"config.yaml": litellm()}}
CHART = {"proxy_config": CONFIG, "image": {"repository": "berriai/litellm", "tag": "v1.106.2"}, "masterkey": "x"}
NAMES = ("x.yaml", "x.env", "other")


def looked(folder: Path, content: bytes, name: str) -> list[Finding]:
    path = folder / name
    path.write_bytes(content)
    found = lint([path], None, folder).findings
    lines = content.count(b"\n") + content.count(b"\r") + 1
    for each in found:
        assert 1 <= each.line <= max(lines, 1), each
        assert each.column >= 1
        assert each.path == name
        assert each.message.isascii() and each.message.isprintable()
    json.dumps(sarif(lint([path], None, folder)))
    return found


@fuzz(300)
@given(st.binary(max_size=300), st.sampled_from(NAMES))
def test_any_bytes(tmp_path: Path, content: bytes, name: str) -> None:
    looked(tmp_path, content, name)


@fuzz(200)
@given(
    st.lists(
        texts
        | st.sampled_from([": ", "- ", "\n", "{", "}", "[", "]", "|", ">", "&a", "*a", "<<", "!", "%", "#", "'", '"', "?"]),
        max_size=30,
    ),
    st.sampled_from(NAMES),
)
def test_any_text(tmp_path: Path, pieces: list[str], name: str) -> None:
    looked(tmp_path, "".join(pieces).encode("utf-8", "surrogatepass"), name)


@pytest.mark.parametrize("golden", [CONFIG, COMPOSE, WORKLOAD, SECRET, MAP, CHART], ids=lambda each: "-".join(each)[:20])
def test_a_changed_document(golden: dict[str, Any], tmp_path: Path) -> None:
    @fuzz(150)
    @given(changed(golden, most=3))
    def check(wrong: Changed) -> None:
        try:
            text = yaml.safe_dump(wrong.document, allow_unicode=True, sort_keys=False)
        except (yaml.YAMLError, ValueError):  # a number of more digits than Python writes
            return
        for each in looked(tmp_path, text.encode("utf-8", "surrogatepass"), "x.yaml"):
            assert not tells(f"{each}", wrong.key or "nothing was planted")

    check()


@fuzz(200)
@given(st.sampled_from(EXAMPLES), st.data(), planted)
def test_an_example_with_something_cut_out_and_a_key_put_in(
    tmp_path: Path, example: Any, data: st.DataObject, key: str
) -> None:
    text = example.wrong
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    piece = data.draw(st.sampled_from(["", key, f"\n{key}: ", "\n", "{{", "&a ", "*a", "\t", "\x00", "- "]))
    for each in looked(tmp_path, (text[:start] + piece + text[end:]).encode(), example.name):
        assert not tells(f"{each}", key)
