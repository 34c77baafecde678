"""Ports for programs that are started later."""

from __future__ import annotations

import random

import pytest

from keyturn.testing import processes


def test_a_port_is_not_given_to_two_who_have_not_bound_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    first = processes.free_port()
    draws = iter([first - processes.PORTS.start, *random.sample(range(len(processes.PORTS)), 100)])
    monkeypatch.setattr("secrets.randbelow", lambda below: next(draws))
    assert processes.free_port() != first
