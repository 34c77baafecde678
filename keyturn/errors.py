"""Why something failed, drawn as a tree. The type alone says what may be done about it.

    KeyturnError
    |-- RetryableError          nothing happened, or nothing that counts: the same call may succeed later
    |   |-- UnavailableError        refused, reset, timed out before the effect, 5xx, sealed
    |   |   `-- StaleKeyError           a key that its store has not confirmed for too long is not given out
    |   `-- ThrottledError          429; `retry_after` seconds where the other side said so
    |-- IndeterminateError      it may have happened: look again before doing anything
    |   |-- LostAnswerError         sent, and no answer came back
    |   `-- UndecidedError          the canary could not tell (its verdict was INDETERMINATE)
    `-- PermanentError          the same call fails again until somebody changes something
        |-- MisconfiguredError      keyturn.yaml, or what it points at, is wrong
        |-- DeniedError             a credential of ours is refused, or lacks a permission
        |-- NotFoundError           what we were told to use is not there
        |-- ConflictError           somebody else changed it meanwhile: we do not overwrite
        |-- RejectedError           the provider refuses the key under test
        |-- EvidenceMissingError    a revoke without proof
        |-- RollFailedError         a member did not take the new key
        |   `-- RolledBackError         and the previous one is served again
        |-- ByHandError             only a person can do it, in the vendor's console: no failure, it is waited for
        `-- ParkedError             left to a person: nothing is begun by itself any more

Messages are ours: no vendor's body, no key text. They end up in Prefect's database. Adapters raise these `from None`
where the vendor's exception may carry a body, else `from error`.
"""

from __future__ import annotations


class KeyturnError(Exception):
    """What failed, in our words (`str`), and what to do about it (`remedy`; may be empty).

    `step`: in which of a rotation's steps, where it was in one.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.step = ""

    def __str__(self) -> str:
        return f"{self.message} Remedy: {self.remedy}" if self.remedy else self.message


class RetryableError(KeyturnError):
    """Nothing happened, or nothing that counts: the same call may succeed later."""


class UnavailableError(RetryableError):
    """Not reachable, not ready, sealed, or failing on its own side."""


class StaleKeyError(UnavailableError):
    """A key that its store has not confirmed for longer than the program allows. It is not given out."""


class ThrottledError(RetryableError):
    """Too many calls. `retry_after`: seconds the other side asked for, None where it did not say."""

    def __init__(self, message: str, *, remedy: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after


class IndeterminateError(KeyturnError):
    """It may have happened: look again before doing anything."""


class LostAnswerError(IndeterminateError):
    """The request was sent, and no answer came back."""


class UndecidedError(IndeterminateError):
    """The canary could not tell whether the key works. Nothing is undone for it."""


class PermanentError(KeyturnError):
    """The same call fails again until somebody changes something."""


class MisconfiguredError(PermanentError):
    """keyturn.yaml, or what it points at, is wrong."""


class DeniedError(PermanentError):
    """A credential of ours is refused, or lacks a permission."""


class NotFoundError(PermanentError):
    """What we were told to use is not there."""


class ConflictError(PermanentError):
    """Somebody else changed it meanwhile. We do not overwrite."""


class RejectedError(PermanentError):
    """The provider refuses the key under test, beyond its propagation budget."""


class EvidenceMissingError(PermanentError):
    """A revoke was asked for, and the proof that nothing serves the old key is not there."""


class RollFailedError(PermanentError):
    """A member did not come back with the new key, or its calls with it are refused. The old key still lives."""


class RolledBackError(RollFailedError):
    """A member did not take the new key, and the previous one was put back into service."""


class ByHandError(PermanentError):
    """Only a person can do it, in the vendor's console. It is no failure: what waits for it goes on by itself then."""


class ParkedError(PermanentError):
    """Left to a person: too many runs in a row failed, or somebody said so."""
