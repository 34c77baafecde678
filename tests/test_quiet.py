"""The loggers of vendors' libraries stay above DEBUG, whatever anybody sets."""

from __future__ import annotations

import logging
import logging.config
import secrets
from collections.abc import Iterator

import boto3
import httpx
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from keyturn.quiet import NOISY, hold_vendor_loggers
from tests.wire import Wire


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The loggers are the process's: each test finds them not held, and other tests get them back as they were."""
    loggers = [logging.getLogger(name) for name in NOISY]
    before = [(vars(logger).pop("setLevel", None), logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.NOTSET)
    yield
    for logger, (method, level) in zip(loggers, before, strict=True):
        vars(logger).pop("setLevel", None)
        logger.setLevel(level)
        if method is not None:
            vars(logger)["setLevel"] = method


@pytest.mark.parametrize("name", NOISY)
def test_a_logger_cannot_be_set_to_debug(name: str) -> None:
    hold_vendor_loggers()
    logger = logging.getLogger(name)
    for level in (logging.DEBUG, "DEBUG", logging.NOTSET, "NOTSET", 1):
        logger.setLevel(level)
        assert not logger.isEnabledFor(logging.DEBUG), level
        assert logger.isEnabledFor(logging.ERROR)


def test_it_can_be_set_to_less() -> None:
    hold_vendor_loggers()
    logger = logging.getLogger("botocore")
    logger.setLevel("ERROR")
    assert not logger.isEnabledFor(logging.WARNING)
    assert logger.isEnabledFor(logging.ERROR)


def test_the_root_loggers_level_does_not_reach_them(caplog: pytest.LogCaptureFixture) -> None:
    hold_vendor_loggers()
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("urllib3.connectionpool").debug("a request")
        logging.getLogger("httpcore.connection").debug("a header")
        logging.getLogger("botocore.endpoint").debug("a body")
    assert caplog.records == []


def test_a_logging_configuration_does_not_undo_it() -> None:
    hold_vendor_loggers()
    logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "loggers": {"botocore": {"level": "DEBUG"}, "hvac": {"level": 10}}}
    )
    assert not logging.getLogger("botocore").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("hvac.adapters").isEnabledFor(logging.DEBUG)


def test_holding_them_twice_is_the_same() -> None:
    hold_vendor_loggers()
    hold_vendor_loggers()
    logging.getLogger("boto3").setLevel(logging.DEBUG)
    assert not logging.getLogger("boto3").isEnabledFor(logging.DEBUG)


@pytest.mark.parametrize("held", [False, True])
def test_urllib3_prints_headers_that_it_cannot_read_unless_held(held: bool, caplog: pytest.LogCaptureFixture) -> None:
    key = "sk-" + secrets.token_hex(24)
    if held:
        hold_vendor_loggers()
    with Wire(lambda _: f"HTTP/1.1 200 OK\r\n{key}\r\n\r\n".encode()) as wire, caplog.at_level(logging.DEBUG):
        requests.get(wire.url, timeout=10)
    assert (key in caplog.text) is not held


@pytest.mark.parametrize("held", [False, True])
def test_httpx_prints_the_servers_words_unless_held(held: bool, caplog: pytest.LogCaptureFixture) -> None:
    key = "sk-" + secrets.token_hex(24)
    if held:
        hold_vendor_loggers()
    with Wire(lambda _: f"HTTP/1.1 200 {key}\r\n\r\n".encode()) as wire, caplog.at_level(logging.DEBUG):
        httpx.get(wire.url, trust_env=False)
    assert (key in caplog.text) is not held


@pytest.mark.parametrize("held", [False, True])
def test_a_secrets_body_is_printed_by_boto_unless_held(held: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Why this module is there: without it boto's request log holds what is written."""
    key = "sk-" + secrets.token_hex(24)
    if held:
        hold_vendor_loggers()
    client = boto3.client(
        "secretsmanager",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key=secrets.token_hex(16),
        config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    with caplog.at_level(logging.DEBUG), pytest.raises(BotoCoreError):
        client.put_secret_value(SecretId="x", SecretString=key)
    assert (key in caplog.text) is not held
