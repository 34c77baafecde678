"""Hold the loggers of the vendors' libraries above DEBUG, where they print requests, answers and secrets."""

from __future__ import annotations

import logging

# botocore prints Secrets Manager bodies at DEBUG, kubernetes whole Secrets; the others print headers or might one day.
NOISY = ("boto3", "botocore", "s3transfer", "urllib3", "requests", "httpx", "httpcore", "hvac", "kubernetes", "hpack")


def hold_vendor_loggers() -> None:
    """Pin them at INFO. A later setLevel(DEBUG), by a user's logging configuration or Prefect's, is raised to INFO."""
    for name in NOISY:
        logger = logging.getLogger(name)
        logger.setLevel = _never_below_info(logger)  # type: ignore[method-assign]
        logger.setLevel(logging.INFO)


def _never_below_info(logger: logging.Logger) -> _SetLevel:
    return _SetLevel(logger)


class _SetLevel:
    """`Logger.setLevel` with a floor."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def __call__(self, level: int | str) -> None:
        number = level if isinstance(level, int) else logging.getLevelNamesMapping().get(level, logging.INFO)
        # 0 (NOTSET) would hand the decision to the root logger.
        logging.Logger.setLevel(self._logger, max(number, logging.INFO))
