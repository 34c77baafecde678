"""README's first rotation, block by block: what is typed, what is a file, what is shown, and what stands in for what."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from dataclasses import dataclass

from keyturn.testing.embedded import ACCOUNT, PROJECT
from keyturn.testing.processes import free_port
from tests.e2e.conftest import ROOT

SECTIONS = ("A first real rotation in ten minutes", "Schedules, the button, the API")

# What a block is, by a text that it alone has. Every block of bash that is not here is typed.
FILES = {"model_list:": "litellm.yaml", "credentials:": "keyturn.yaml", "reverse_proxy": "Caddyfile"}
SHOWN = "observe   a new key is due"  # what `keyturn rotate` printed
LEFT_OUT = {"aws secretsmanager create-secret": "the AWS way in place of the Vault way, and AWS's own program is not here"}
ANOTHER_TERMINAL = "prefect server start"  # typed first: there is one shell, and what is typed in it finds the server

DRY = "keyturn rotate openai-prod --dry-run"  # the first command that talks to Prefect


@dataclass(frozen=True, slots=True)
class Instead:
    """`now` in place of `was`, because of `why`."""

    was: str
    now: str
    why: str


def blocks() -> list[tuple[str, str]]:
    """The fenced blocks of the two sections, each with the word behind its fence."""
    page = (ROOT / "README.md").read_text()
    parts = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    text = "".join(parts[name] for name in SECTIONS)
    assert text.count("```") % 2 == 0
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def typed() -> list[str]:
    """What is typed, in this order. A block that is nothing of the above is a failure."""
    other = (*FILES, SHOWN, *LEFT_OUT)
    found = {text: [mark for mark in other if mark in text] for _, text in blocks()}
    for language, text in blocks():
        assert found[text] or language == "sh", f"neither typed nor in a table of this file:\n{text}"
    for mark in other:
        assert sum(mark in marks for marks in found.values()) == 1, f"one block should have this: {mark}"
    return sorted((text for text, marks in found.items() if not marks), key=lambda text: ANOTHER_TERMINAL not in text)


def block(mark: str) -> str:
    return next(text for _, text in blocks() if mark in text)


class Replaced:
    """The page as it is typed here. `ports`: where the page has these, which may be taken on this machine."""

    def __init__(self, provider: str, vault: str) -> None:
        member = two_ports()
        self.ports = {"4001": member, "4101": member + 100, "4200": free_port(), "8000": free_port()}
        control, server = self.ports["4101"], f"http://127.0.0.1:{self.ports['4200']}/api"
        login, given = "PREFECT_API_AUTH_STRING", "$PREFECT_SERVER_API_AUTH_STRING"
        a_terminal = "one shell is every terminal here"
        self.table = [
            Instead("make setup  ", ":  ", "both environments are there before the tests"),
            Instead("https://api.openai.com/v1", provider, "no vendor is called: a simulator"),
            Instead("proj_YOURS", PROJECT, "the simulator's"),
            Instead("svc_acct_YOURS", f"{ACCOUNT}, base_url: '{provider}'", "the simulator's, and where it is"),
            Instead("{model: openai/", f"{{api_base: '{provider}', model: openai/", "where the simulator is"),
            Instead("https://vault.example.com:8200", vault, "OpenBao in place of Vault"),
            Instead("vault ", "bao ", "as the page says for OpenBao"),
            Instead(
                "kv-v2 ", "kv-v2; until bao read secret/config; do sleep 0.1; done ", "a new engine is not ready at once"
            ),
            Instead(":4101 -- ", ":4101 --drain 0s -- ", "no balancer has to take notice: six seconds for each roll"),
            Instead("curl -s http://127.0.0.1:4101/health/readiness", ready(control), "the page says: later"),
            Instead(
                f"{DRY}  ",
                f"export PREFECT_API_URL={server} {login}={given}\n{answers(server)}{DRY}  ",
                "without a server each command starts one of its own, for some ten seconds",
            ),
            Instead(
                "start --host 127.0.0.1 --port 4200", "start --host 127.0.0.1 --port 4200 >server.log 2>&1 &", a_terminal
            ),
            Instead(f"read -rs {login}", f"{login}={given}", a_terminal),
            Instead(
                "serve >serve.log 2>&1 &",
                "serve >serve.log 2>&1 &\nuntil grep -q respond/keyturn serve.log; do sleep 0.2; done #",
                "a person is slower",
            ),
            *(
                Instead(before + port, f"{before}{now}", "may be taken")
                for port, now in self.ports.items()
                for before in ((":",) if port == "8000" else (":", "port "))
            ),
        ]

    def __call__(self, text: str) -> str:
        for each in self.table:
            text = text.replace(each.was, each.now)
        return text


def two_ports() -> int:
    """A free one, of which the one that is a hundred higher is free, too: there the page has the supervisor."""
    while True:
        port = free_port()
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port + 100))
            return port


def ready(port: int) -> str:
    """A line that waits for both members."""
    return "".join(
        f"until curl -s http://127.0.0.{n}:{port}/health/readiness | grep '\"healthy\"'; do sleep 0.2; done\n"
        for n in (1, 2)
    )


def answers(url: str) -> str:
    """A line that waits for Prefect's server."""
    return f"until curl -sf {url}/health; do sleep 0.2; done\n"
