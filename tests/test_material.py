"""KeyMaterial does not leak by accident."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import secrets
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.material import KeyMaterial
from tests.hostile import fuzz


@pytest.fixture
def text() -> str:
    return "sk-" + secrets.token_hex(24)


def test_printing_formatting_and_logging_show_a_mask(text: str, caplog: pytest.LogCaptureFixture) -> None:
    key = KeyMaterial(text)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("any").debug("key %s %r", key, key)
    shown = f"{key} {key!r} {key:>80} {[key]} { ({'k': key}) }" + caplog.text
    assert text not in shown and text[5:17] not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "leaking",
    [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, hash, lambda key: {key}, lambda key: key.__getstate__(), vars],
)
def test_what_would_take_the_text_out_fails(leaking: object, text: str) -> None:
    with pytest.raises(TypeError) as failure:
        leaking(KeyMaterial(text))  # type: ignore[operator]
    assert text not in str(failure.value)


def test_equal_keys_have_one_fingerprint_and_others_another(text: str) -> None:
    assert KeyMaterial(text) == KeyMaterial(text)
    assert KeyMaterial(text) != KeyMaterial(text + "x")
    assert KeyMaterial(text) != text
    assert KeyMaterial(text).fingerprint() == KeyMaterial(text).fingerprint()
    assert KeyMaterial(text).fingerprint() != KeyMaterial(text + "x").fingerprint()
    assert len(KeyMaterial(text).fingerprint()) == 16 and KeyMaterial(text).fingerprint() not in text


@pytest.mark.parametrize("bad", ["", " sk-x", "sk-x\n", "sk\x00x", "sk\x7fx", "sk-\ud800x"])
def test_text_that_no_header_could_carry_is_refused_without_quoting_it(bad: str) -> None:
    with pytest.raises(ValueError, match="key material") as failure:
        KeyMaterial(bad)
    assert not bad.strip() or bad not in str(failure.value)


@pytest.mark.parametrize("filler", ["...", "…", "********"])
def test_a_hint_fits_its_own_key_alone(filler: str, text: str) -> None:
    hint = f"{text[:5]}{filler}{text[-4:]}"
    assert KeyMaterial(text).fits_hint(hint)
    assert not KeyMaterial("sk-" + secrets.token_hex(24)).fits_hint(hint)


@pytest.mark.parametrize("hint", ["", "...", "sk...", "no filler at all"])
def test_a_hint_that_shows_too_little_fits_nothing(hint: str, text: str) -> None:
    assert not KeyMaterial(text).fits_hint(hint)


FILLERS = st.sampled_from(["...", "....", "\u2026", "*", "********", "\u2022\u2022", "***...", "...*"])
TEXTS = st.text(string.ascii_letters + string.digits + "-_", min_size=16, max_size=60)


@fuzz(100)
@given(TEXTS, st.integers(0, 8), st.integers(0, 8), FILLERS)
def test_every_hint_that_is_made_of_a_key_may_be_it(text: str, head: int, tail: int, filler: str) -> None:
    hint = text[:head] + filler + text[len(text) - tail :]
    key = KeyMaterial(text)
    assert key.may_fit_hint(hint)
    assert key.fits_hint(hint) is (head + tail >= 6)


@fuzz(100)
@given(TEXTS, st.text(max_size=30) | st.text("sk-.*\u2026", max_size=12))
def test_any_hint_is_answered_and_the_two_answers_agree(text: str, hint: str) -> None:
    key = KeyMaterial(text)
    assert key.may_fit_hint(hint) or not key.fits_hint(hint)


def test_a_hint_that_shows_more_than_the_key_has_is_of_another() -> None:
    key = KeyMaterial("sk-abcdef")
    assert key.fits_hint("sk-abc...def")
    assert not key.may_fit_hint("sk-abcd...bcdef")


@fuzz(100)
@given(st.text(max_size=20) | st.sampled_from(["\ud800", "\x85", "\u2028x", "x\u00a0", "\ufeff"]))
def test_any_text_is_a_key_that_a_header_can_carry_or_refused_without_quoting_it(text: str) -> None:
    try:
        key = KeyMaterial(text)
    except ValueError as error:
        assert len(text) < 3 or text not in str(error)
        return
    assert key.reveal().encode() == text.encode()
    assert not set(text) & set(string.whitespace[1:])
    assert len(key.fingerprint()) == 16


def test_a_mask_of_four_characters_contradicts_another_key_and_proves_none() -> None:
    key = KeyMaterial("sk-abcdefgh")
    assert not key.contradicts("sk****gh")
    assert not key.contradicts("*****")
    assert key.contradicts("sk****gg")
    assert key.contradicts("pk****gh")


@pytest.mark.parametrize("text", ["sk****gh", "*****", "sk-abc\u2026def", "sk-ab\u2022\u2022\u2022"])
def test_what_an_api_shows_in_place_of_a_key_looks_masked(text: str) -> None:
    assert KeyMaterial(text).looks_masked()
    assert not KeyMaterial("sk-" + secrets.token_urlsafe(24)).looks_masked()
