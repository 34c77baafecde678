"""The balancer that follows its targets: who gets a connection, and what is lost where one does not listen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from keyturn.testing.balancer import Balancer, Health, Target

HEALTH, LONG = "/health", "/long"


class Member:
    """A program that says its name. `hold`: set where a request for `LONG` may be answered. `looks`: for its health."""

    def __init__(self, name: str) -> None:
        member, self.is_ready, self.looks = self, True, 0
        self.asked, self.hold = threading.Event(), threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == LONG:
                    member.asked.set()
                    member.hold.wait()
                member.looks += self.path == HEALTH
                self.send_response(200 if member.is_ready or self.path != HEALTH else 503)
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.target: Target = ("127.0.0.1", self._server.server_port)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """It listens no more."""
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def start() -> Iterator[Callable[[str], Member]]:
    with ExitStack() as stack:

        def started(name: str) -> Member:
            made = Member(name)
            stack.callback(made.close)
            return made

        yield started


def said(balancer: Balancer, path: str = "/") -> str:
    return httpx.get(f"{balancer.url}{path}", trust_env=False, timeout=30).text


def test_a_refused_connection_is_lost_or_tried_on_another_as_it_is_told(start: Callable[[str], Member]) -> None:
    gone, there = start("gone"), start("there")
    gone.close()
    targets = [gone.target, there.target]
    with Balancer(lambda: targets) as balancer:
        answered = 0
        for _ in range(4):
            try:
                answered += said(balancer) == "there"
            except httpx.HTTPError:
                answered += 0
        assert answered == 2
    with Balancer(lambda: targets, tried_for=30) as balancer:
        assert [said(balancer) for _ in range(4)] == ["there"] * 4
    with Balancer(list, tried_for=0) as balancer, pytest.raises(httpx.HTTPError):
        said(balancer)


def test_who_asks_while_there_is_no_target_is_served_by_the_next_one(start: Callable[[str], Member]) -> None:
    targets: list[Target] = []
    with Balancer(lambda: list(targets), tried_for=30) as balancer:
        threading.Timer(0.3, lambda: targets.append(start("late").target)).start()
        assert said(balancer) == "late"


def test_only_who_says_that_it_is_ready_is_given_connections(start: Callable[[str], Member]) -> None:
    one, two = start("one"), start("two")
    two.is_ready = False
    with Balancer(lambda: [one.target, two.target], health=Health(HEALTH, 0.02, timeout=30)) as balancer:
        balancer.wait_for(1, 30)
        assert {said(balancer) for _ in range(4)} == {"one"}
        two.is_ready = True
        balancer.wait_for(2, 30)
        assert {said(balancer) for _ in range(4)} == {"one", "two"}
        one.is_ready = False
        balancer.wait_for(1, 30)
        assert {said(balancer) for _ in range(4)} == {"two"}


def test_where_nobody_is_healthy_everybody_is_asked_by_one_that_fails_open(start: Callable[[str], Member]) -> None:
    one = start("one")
    one.is_ready = False
    for fails_open, known in ((True, (one.target,)), (False, ())):
        with Balancer(lambda: [one.target], health=Health(HEALTH, 0.02, fails_open=fails_open)) as balancer:
            looked = one.looks + 2
            while one.looks < looked:
                threading.Event().wait(0.01)
            assert (balancer.endpoints, balancer.healthy) == (known, set())


def test_one_failed_look_is_not_enough_where_more_are_asked_for(start: Callable[[str], Member]) -> None:
    one = start("one")
    with Balancer(lambda: [one.target], health=Health(HEALTH, 0.02, timeout=30, falls=10_000)) as balancer:
        balancer.wait_for(1, 30)
        one.is_ready, looked = False, one.looks + 3
        while one.looks < looked:
            threading.Event().wait(0.01)
        assert balancer.healthy == {one.target}


def test_what_runs_at_a_target_that_is_taken_out_is_answered_and_others_go_to_its_successor(
    start: Callable[[str], Member],
) -> None:
    targets = [(old := start("old")).target]
    answers: list[str] = []
    with Balancer(lambda: list(targets)) as balancer:
        asking = threading.Thread(target=lambda: answers.append(said(balancer, LONG)))
        asking.start()
        assert old.asked.wait(30)
        new = start("new")
        targets[:] = [new.target]
        while balancer.endpoints != (new.target,):
            threading.Event().wait(0.01)
        assert said(balancer) == "new"
        old.hold.set()
        asking.join()
    assert answers == ["old"]
