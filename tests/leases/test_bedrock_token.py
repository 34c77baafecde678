"""Bedrock's short-term keys: byte for byte AWS's own, never longer than the credentials that sign them, told to nobody."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore import auth
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from pydantic import ValidationError

from keyturn.errors import KeyturnError, MisconfiguredError, UnavailableError
from keyturn.leases import bedrock_token
from keyturn.leases.bedrock_token import BedrockToken, signed
from keyturn.references import resolver
from tests.delivery.test_supervisor import traces
from tests.providers.sdk import run

NOW = datetime(2026, 11, 29, 17, 45, 36, tzinfo=UTC)
PLACE = {"region": "eu-central-1", "proxies": ["local"]}


def given(session: bool) -> dict[str, str]:
    """Credentials, made at run time. A slash, a plus and an equals sign have to be escaped as AWS does it."""
    more = {"AWS_SESSION_TOKEN": f"{secrets.token_hex(40)}/+=="} if session else {}
    secret = f"{secrets.token_hex(18)}/+"
    return {"AWS_ACCESS_KEY_ID": f"ASIA{secrets.token_hex(8).upper()}", "AWS_SECRET_ACCESS_KEY": secret, **more}


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "get_current_datetime", lambda *_, **__: NOW.replace(tzinfo=None))


def lease(monkeypatch: pytest.MonkeyPatch, source: Any, **settings: Any) -> BedrockToken:
    """A lease whose SDK has found these credentials."""
    found = SimpleNamespace(get_credentials=lambda: source)
    monkeypatch.setattr(bedrock_token, "make_session", lambda *_: found)
    return BedrockToken(BedrockToken.Settings.model_validate({**PLACE, **settings}), resolver(), lambda: NOW)


def session_credentials(ends: datetime, renewed: dict[str, Any] | None = None) -> RefreshableCredentials:
    """Temporary ones. `renewed`: what the SDK gets in their place when they are about to end."""
    access_key, secret_key, token = given(session=True).values()
    return RefreshableCredentials(
        access_key,
        secret_key,
        token,
        expiry_time=ends,
        refresh_using=lambda: renewed or {},
        method="test",
        time_fetcher=lambda: NOW,
    )


@pytest.mark.real
@pytest.mark.parametrize("session", [False, True])
@pytest.mark.parametrize(("region", "seconds"), [("us-east-1", 43200), ("ap-southeast-2", 1), ("eu-central-1", 3599)])
async def test_it_is_byte_for_byte_what_awss_own_generator_gives(region: str, seconds: int, session: bool) -> None:
    keys = given(session)
    asked = {"moment": NOW.isoformat(), "region": region, "seconds": seconds, "credentials": keys}
    told = await run("bedrock_token", json.dumps(asked))
    credentials = Credentials(*keys.values()).get_frozen_credentials()
    assert signed(credentials, region, seconds) == told["token"]


async def test_the_credentials_of_the_settings_are_what_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = given(session=False)
    references = {"access_key_id": "env:AWS_ACCESS_KEY_ID", "secret_access_key": "env:AWS_SECRET_ACCESS_KEY"}
    settings = BedrockToken.Settings.model_validate({**PLACE, **references, "lifetime": "1h"})
    made = BedrockToken(settings, resolver(environ=keys), lambda: NOW)
    first = await made.token()
    assert first.material.reveal() == signed(Credentials(*keys.values()), "eu-central-1", 3600)
    assert (first.asked, first.ends) == (NOW, NOW + timedelta(hours=1))
    keys.update(given(session=False))
    assert (await made.token()).material.reveal() == signed(Credentials(*keys.values()), "eu-central-1", 3600)


async def test_it_ends_with_the_credentials_that_signed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await lease(monkeypatch, session_credentials(NOW + timedelta(hours=2))).token()
    assert made.ends == NOW + timedelta(hours=2)
    url = base64.b64decode(made.material.reveal().removeprefix("bedrock-api-key-")).decode()
    assert parse_qs(url.partition("?")[2])["X-Amz-Expires"] == ["7200"]
    made = await lease(monkeypatch, session_credentials(NOW + timedelta(days=2))).token()
    assert made.ends == NOW + timedelta(hours=12)
    assert made.due == NOW + timedelta(hours=8)


async def test_credentials_that_are_about_to_end_are_renewed_before_they_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    new = dict(zip(("access_key", "secret_key", "token"), given(session=True).values(), strict=True))
    renewed = {**new, "expiry_time": (NOW + timedelta(hours=6)).isoformat()}
    made = await lease(monkeypatch, session_credentials(NOW + timedelta(minutes=5), renewed)).token()
    assert made.ends == NOW + timedelta(hours=6)
    assert new["access_key"] in base64.b64decode(made.material.reveal().removeprefix("bedrock-api-key-")).decode()


async def test_temporary_credentials_of_unknown_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = given(session=True)
    with pytest.raises(MisconfiguredError, match="do not say when they end") as caught:
        await lease(monkeypatch, Credentials(*keys.values())).token()
    assert not any(value in f"{caught.value!r} {caught.value.__context__!r}" for value in keys.values())


async def test_no_credentials_and_ended_ones_are_errors_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MisconfiguredError, match="no credentials to sign with"):
        await lease(monkeypatch, None).token()
    with pytest.raises(UnavailableError, match="have ended"):
        await lease(
            monkeypatch,
            SimpleNamespace(
                get_frozen_credentials=lambda: ReadOnlyCredentials(*given(session=True).values()), _expiry_time=NOW
            ),
        ).token()


async def test_what_the_sdk_fails_with_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await lease(monkeypatch, session_credentials(NOW + timedelta(hours=1))).token()

    def fails() -> None:
        raise ValueError(made.material.reveal())

    with pytest.raises(KeyturnError) as caught:
        await lease(monkeypatch, SimpleNamespace(get_frozen_credentials=fails)).token()
    assert traces(f"{caught.value!r} {caught.value.__context__!r} {caught.value.__cause__!r}", [made.material]) == []
    assert traces(f"{made!r} {made}", [made.material]) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lifetime": "13h"}, "from 1s to 12h"),
        ({"lifetime": "0s"}, "from 1s to 12h"),
        ({"access_key_id": "env:A", "secret_access_key": "env:B", "session_token": "env:C"}, "does not say when it ends"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "Extra inputs"),
        ({"env": "not a name"}, "match"),
        ({"proxies": []}, "at least 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        BedrockToken.Settings.model_validate({**PLACE, **settings})


async def test_a_key_that_was_replaced_in_the_sdks_file_is_what_signs_the_next_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    made = BedrockToken(BedrockToken.Settings.model_validate(PLACE), resolver(), lambda: NOW)
    for _ in range(2):
        access_key, secret_key = given(session=False).values()
        text = f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
        (tmp_path / "credentials").write_text(text)
        credentials = Credentials(access_key, secret_key)
        assert (await made.token()).material.reveal() == signed(credentials, "eu-central-1", 43200)
