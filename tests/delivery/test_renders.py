"""Orders that wait for a render: how long, and whose they are."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keyturn.delivery.renders import Renders
from keyturn.errors import UnavailableError

ONE, TWO = "0123456789abcdef", "fedcba9876543210"


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_order_waits_for_its_limit_and_then_anew() -> None:
    watch = Watch()
    renders = Renders(timedelta(seconds=50), watch)
    renders.wait("openai-prod", ONE, "the file is not there")
    watch.now = 49
    renders.wait("openai-prod", ONE, "the file is not there")
    assert renders.waiting == {"openai-prod": ONE}
    watch.now = 50
    with pytest.raises(UnavailableError, match="openai-prod was not rendered within 50s: the file is not there"):
        renders.wait("openai-prod", ONE, "the file is not there")
    assert renders.waiting == {}
    renders.wait("openai-prod", ONE, "the file is not there")


def test_orders_wait_each_for_itself_and_a_later_one_begins_anew() -> None:
    watch = Watch()
    renders = Renders(timedelta(seconds=50), watch)
    renders.wait("openai-prod", ONE, "")
    watch.now = 30
    renders.wait("gemini", ONE, "")
    renders.wait("openai-prod", TWO, "")  # the key has turned again
    watch.now = 60
    renders.wait("openai-prod", TWO, "")
    renders.over("gemini")
    assert renders.waiting == {"openai-prod": TWO}


def test_an_order_that_nobody_asks_for_any_more_is_forgotten() -> None:
    watch = Watch()
    renders = Renders(timedelta(minutes=6), watch)
    renders.wait("openai-prod", ONE, "")
    watch.now = 60
    assert renders.waiting == {}
    watch.now = 3600
    renders.wait("openai-prod", ONE, "")  # by another roller: it has the whole time
