"""Labels: ours are told from all others, and lead back to their rotation."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.config import NAME
from keyturn.model import Mark, rotation_id
from tests.hostile import fuzz, texts

NAMES = st.from_regex(rf"\A{NAME.pattern}\Z")
ADDRESSES = st.sampled_from(["vault:a/b#C", "aws:a"]) | st.text(max_size=20)
FINGERPRINTS = st.text("0123456789abcdef", min_size=16, max_size=16)


@fuzz(80)
@given(NAMES, ADDRESSES, FINGERPRINTS, st.integers(0, 10**9))
def test_a_label_is_ours_and_tells_its_rotation(credential: str, address: str, fingerprint: str, attempt: int) -> None:
    mark = Mark.of(credential, address)
    rotation = rotation_id(mark, fingerprint, attempt)
    label = mark.label(rotation)
    assert mark.is_ours(label)
    assert mark.rotation_of(label) == rotation == str(uuid.UUID(rotation))
    assert re.fullmatch(r"keyturn-[a-z0-9-]+-[0-9a-f]{6}-[0-9a-f]{12}", label)
    assert len(label) <= 70


@fuzz(80)
@given(NAMES, NAMES, ADDRESSES, FINGERPRINTS)
def test_a_label_of_another_credential_or_place_is_not_ours(one: str, other: str, address: str, fingerprint: str) -> None:
    mine, its = Mark.of(one, address), Mark.of(other, address)
    elsewhere = Mark.of(one, address + "x")
    label = its.label(rotation_id(its, fingerprint, 0))
    assert mine.is_ours(label) is (one == other)
    assert elsewhere.text == mine.text or not elsewhere.is_ours(mine.label(rotation_id(mine, fingerprint, 0)))


MARK = Mark.of("openai-prod", "vault:a/b#C")
LABEL = MARK.label(str(uuid.uuid4()))
ODD = [
    *(LABEL + end for end in ("\n", " ", "0", "-")),
    *(start + LABEL for start in ("x", " ", "\n")),
    *(LABEL.upper(), LABEL[:-1], LABEL.replace("-", "_"), LABEL.replace("0", "\u0660"), LABEL[:-12] + "\u0663" * 12, ""),
]


@fuzz(100)
@given(st.sampled_from(ODD) | texts | st.text(max_size=12).map(lambda text: LABEL[:-12] + text))
def test_nothing_else_is_ours(name: str) -> None:
    if re.fullmatch(r"[0-9a-f]{12}", name.removeprefix(LABEL[:-12])):
        return
    assert not MARK.is_ours(name)
    with pytest.raises(ValueError, match="not a label of ours"):
        MARK.rotation_of(name)
