"""How the lean reader says that something is not plain."""

from __future__ import annotations


class Declined(Exception):  # no error: the full path takes over
    """Left to the full path. It carries no text: nobody reads it."""
