"""The section `incidents` of keyturn.yaml: what is refused, and that it says where."""

from __future__ import annotations

import secrets

import pytest

from keyturn.config import ConfigError, parse
from tests.incidents.scene import CONFIG


def faults(was: str, now: str) -> str:
    assert was in CONFIG
    with pytest.raises(ConfigError) as caught:
        parse(CONFIG.replace(was, now))
    (fault,) = caught.value.faults
    return fault


@pytest.mark.parametrize(
    ("was", "now", "where", "what"),
    [
        ("  rate: 20", "  listen: 0.0.0.0:8700", "incidents", "give tls, or behind_tls"),
        ("  rate: 20", "  listen: example.com:8700", "incidents", "give tls, or behind_tls"),
        ("  rate: 20", "  listen: 127.0.0.1", "incidents.listen", "must be HOST:PORT"),
        ("  rate: 20", "  replay_window: 2h", "incidents", "replay_window must be"),
        ("{token: env:ON_CALL}", "{token: env:A, hmac: env:B}", "incidents.callers.on-call", "needs token or hmac"),
        ("{token: env:ON_CALL}", "{}", "incidents.callers.on-call", "needs token or hmac"),
        ("on-call: {token", "On_Call: {token", "incidents.callers.On_Call", "names are 1 to 40"),
        ("    trufflehog: {", "    ../x: {", "incidents.sources.../x", "names are 1 to 40"),
        (
            "kind: github, secret: env:GITHUB, types",
            "kind: github, token: env:A, types",
            "incidents.sources.github",
            "needs secret",
        ),
        ("kind: trufflehog, token", "kind: trufflehog, secret", "incidents.sources.trufflehog", "needs token"),
        ("env:TRUFFLEHOG}", "env:A, key: x}", "incidents.sources.trufflehog", "key is not for a trufflehog source"),
        ("[one, two]", "[one, ten]", "incidents.sources.github.types.openai_api_key.1", "names nothing in credentials"),
        ("{token: env:ON_CALL}", '{token: "store:none/a#b"}', "incidents.callers.on-call.token", "names nothing in stores"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(was: str, now: str, where: str, what: str) -> None:
    fault = faults(was, now)
    assert fault.startswith(f"{where} (line ")
    assert what in fault


def test_a_token_in_the_file_is_refused_and_not_printed() -> None:
    token = secrets.token_hex(20)
    assert token not in faults("{token: env:ON_CALL}", f"{{token: {token}}}")


@pytest.mark.parametrize(
    "listen",
    [
        "listen: '[::1]:8700'",
        "listen: localhost:1",
        "behind_tls: true\n  listen: 0.0.0.0:8700",
        "tls: {certificate: /c, key: /k}",
    ],
)
def test_loopback_or_tls_will_do(listen: str) -> None:
    assert parse(CONFIG.replace("  rate: 20", f"  {listen}")).incidents is not None


def test_without_the_section_there_is_no_service() -> None:
    assert parse(CONFIG.partition("incidents:")[0]).incidents is None


def test_somebody_has_to_be_able_to_report() -> None:
    with pytest.raises(ConfigError, match="needs callers or sources"):
        parse(CONFIG.partition("incidents:")[0] + "incidents: {listen: '127.0.0.1:1'}")
