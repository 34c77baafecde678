"""Hold the loggers of the vendors' libraries above the level at which they print requests, answers and secrets."""

from __future__ import annotations

import logging

# botocore prints Secrets Manager bodies at DEBUG, kubernetes whole Secrets; the others print headers or might one day.
NOISY = ("boto3", "botocore", "s3transfer", "urllib3", "requests", "httpx", "httpcore", "hvac", "kubernetes", "hpack")
_FLOORS = {
    "httpx": logging.WARNING,  # at INFO: the words beside an answer's status, which are the server's own
    "urllib3": logging.ERROR,  # at WARNING: header lines that it cannot read
}


def hold_vendor_loggers() -> None:
    """Pin them at INFO or above. A later setLevel, by a user's logging configuration or Prefect's, is raised to that."""
    for name in NOISY:
        logger, floor = logging.getLogger(name), _FLOORS.get(name, logging.INFO)
        if isinstance(logger.setLevel, _SetLevel) and logger.level >= floor:
            continue  # to set a level has every logger look for its own anew
        logger.setLevel = _SetLevel(logger, floor)  # type: ignore[method-assign]
        logger.setLevel(floor)


class _SetLevel:
    """`Logger.setLevel` with a floor."""

    def __init__(self, logger: logging.Logger, floor: int) -> None:
        self._logger, self._floor = logger, floor

    def __call__(self, level: int | str) -> None:
        number = level if isinstance(level, int) else logging.getLevelNamesMapping().get(level, self._floor)
        # 0 (NOTSET) would hand the decision to the root logger.
        logging.Logger.setLevel(self._logger, max(number, self._floor))
