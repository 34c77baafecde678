"""Asking Prefect's server: whatever its client stumbles over, when the answer is not Prefect's, is an error of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from keyturn.errors import KeyturnError, UnavailableError


@contextmanager
def asking_prefect() -> Iterator[None]:
    """UnavailableError, with the type of what was raised and without its text; TimeoutError as it is."""
    try:
        yield
    except (KeyturnError, TimeoutError):
        raise
    except Exception as error:
        raise UnavailableError(
            f"Prefect's API does not do what it was asked ({type(error).__name__})",
            remedy="look at its server, and at what stands between; then run this again",
        ) from None
