"""The supervisor with real child processes: a fake proxy that reads its key once, as LiteLLM does."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import signal
import stat
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from keyturn.delivery.aliases import shadowing
from keyturn.delivery.child import Child, exit_code
from keyturn.delivery.listeners import control_socket
from keyturn.delivery.supervisor import Supervisor
from keyturn.errors import DeniedError, MisconfiguredError, RollFailedError, UnavailableError
from keyturn.material import KeyMaterial
from keyturn.testing.processes import Processes, free_port, wait_for_http
from tests.delivery.supervised import Clock, Shelf, new_key, proxy_command, supervised, until

real = pytest.mark.real


def traces(text: str, keys: Iterable[KeyMaterial]) -> list[str]:
    """Where key text stands in a text: whole, in base64, or any twelve characters of it."""
    found = []
    for key in keys:
        plain = key.reveal()
        slices = [plain[start : start + 12] for start in range(3, len(plain) - 11)]
        encoded = base64.b64encode(plain.encode()).decode()[4:-4]
        found += [each for each in (encoded, *slices) if each in text]
    return found


# A roll -----------------------------------------------------------------------------------------------------------------


@real
async def test_roll_restarts_once_and_serves_the_new_key_then_repeats_quietly() -> None:
    async with supervised() as member:
        old = await member.ask()
        wanted = member.shelf.turn("openai-prod")
        answer = await member.roll(wanted.fingerprint)
        assert (answer.status_code, answer.json()["state"]) == (202, "draining")
        status = await member.at_rest()
        new = await member.ask()
        assert old["loaded"]["OPENAI_API_KEY"] != wanted.fingerprint == new["loaded"]["OPENAI_API_KEY"]
        assert new["pid"] != old["pid"]
        assert (status["state"], status["starts"], status["rolls"], status["pid"]) == ("serving", 2, 1, new["pid"])
        assert status["versions"] == {"openai-prod": {"id": wanted.id, "fingerprint": wanted.fingerprint}}

        repeated = await member.roll(wanted.fingerprint)
        assert (repeated.status_code, repeated.json()["rolled"]) == (200, False)
        assert (await member.status()).json()["starts"] == 2
        assert (await member.ask())["pid"] == new["pid"]


@real
async def test_rolls_asked_for_at_once_or_again_meanwhile_restart_once() -> None:
    async with supervised() as member:
        wanted = member.shelf.turn("openai-prod").fingerprint
        member.clock.hold()
        answers = await asyncio.gather(*(member.roll(wanted) for _ in range(5)))
        assert [answer.status_code for answer in answers] == [202] * 5
        assert (await member.roll(wanted)).status_code == 202
        member.clock.release()
        status = await member.at_rest()
        assert (status["state"], status["starts"], status["rolls"]) == ("serving", 2, 1)


@real
async def test_roll_to_another_version_is_refused_as_busy_meanwhile() -> None:
    async with supervised() as member:
        wanted = member.shelf.turn("openai-prod").fingerprint
        member.clock.hold()
        await member.roll(wanted)
        later = member.shelf.turn("openai-prod").fingerprint
        refused = await member.roll(later)
        assert (refused.status_code, refused.json()["busy"]) == (409, True)
        member.clock.release()
        await member.at_rest()
        assert (await member.ask())["loaded"]["OPENAI_API_KEY"] == wanted


@real
async def test_roll_is_refused_and_serving_goes_on_when_the_store_holds_another_value() -> None:
    async with supervised() as member:
        before = await member.ask()
        refused = await member.roll(new_key().fingerprint())
        assert (refused.status_code, refused.json()["busy"]) == (409, False)
        assert "not the one to roll onto" in refused.json()["error"]
        status = (await member.status()).json()
        assert (status["state"], status["starts"]) == ("serving", 1)
        assert await member.health() == 200
        assert await member.ask() == before


@real
async def test_roll_waits_for_a_store_that_lags_behind_its_own_promote() -> None:
    async with supervised() as member:
        old, wanted = member.shelf.held["openai-prod"], member.shelf.turn("openai-prod")
        new, member.shelf.held["openai-prod"] = member.shelf.held["openai-prod"], old
        member.clock.hold()
        asked = asyncio.create_task(member.roll(wanted.fingerprint))
        await until(lambda: member.clock.paused)
        member.shelf.held["openai-prod"] = new
        member.clock.release()
        assert (await asked).status_code == 202
        await member.at_rest()
        assert (await member.ask())["loaded"]["OPENAI_API_KEY"] == wanted.fingerprint


@real
async def test_store_that_cannot_be_asked_is_503_and_changes_nothing() -> None:
    async with supervised() as member:
        member.shelf.failing["openai-prod"] = [UnavailableError("the store is sealed"), DeniedError("may not read")]
        wanted = member.shelf.turn("openai-prod").fingerprint
        unavailable, denied = await member.roll(wanted), await member.roll(wanted)
        assert (unavailable.status_code, unavailable.json()["error"]) == (503, "the store is sealed")
        assert (denied.status_code, denied.json()["busy"]) == (409, False)
        assert (await member.status()).json()["starts"] == 1


@real
async def test_other_credentials_come_along_in_one_restart_and_are_kept_when_unreadable() -> None:
    names = {"openai-prod": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}
    async with supervised("--env", "OPENAI_API_KEY", "--env", "GEMINI_API_KEY", names=names) as member:
        kept = member.shelf.version("gemini").fingerprint
        gemini, openai = member.shelf.turn("gemini").fingerprint, member.shelf.turn("openai-prod").fingerprint
        member.shelf.failing["gemini"] = [UnavailableError("sealed")]
        await member.roll(openai)
        await member.at_rest()
        assert (await member.ask())["loaded"] == {"OPENAI_API_KEY": openai, "GEMINI_API_KEY": kept}

        openai = member.shelf.turn("openai-prod").fingerprint
        await member.roll(openai)
        await member.at_rest()
        assert (await member.ask())["loaded"] == {"OPENAI_API_KEY": openai, "GEMINI_API_KEY": gemini}
        assert (await member.roll(gemini, "gemini")).json()["rolled"] is False
        assert (await member.status()).json()["starts"] == 3


# When it goes wrong -----------------------------------------------------------------------------------------------------


@real
async def test_old_key_is_served_again_when_the_new_program_dies(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    async with supervised("--refuse", bad) as member:
        old = member.shelf.version("openai-prod")
        wanted = member.shelf.turn("openai-prod")
        bad.write_text(wanted.fingerprint)
        assert (await member.roll(wanted.fingerprint)).status_code == 202
        status = await member.at_rest()
        assert (status["state"], status["starts"], status["rolls"]) == ("serving", 3, 0)
        assert status["versions"]["openai-prod"]["fingerprint"] == old.fingerprint
        assert "openai-prod: it ended with code 3" in status["last_error"]
        assert await member.health() == 200
        assert (await member.ask())["loaded"]["OPENAI_API_KEY"] == old.fingerprint

        bad.unlink()
        assert (await member.roll(wanted.fingerprint)).status_code == 202
        status = await member.at_rest()
        assert (status["rolls"], status["last_error"]) == (1, "")


@real
async def test_old_key_is_served_again_when_the_new_program_is_never_ready(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    async with supervised("--stall", bad) as member:
        old, wanted = member.shelf.version("openai-prod"), member.shelf.turn("openai-prod")
        bad.write_text(wanted.fingerprint)
        patient, member.supervisor.start_timeout = member.supervisor.start_timeout, timedelta(seconds=1)
        await member.roll(wanted.fingerprint)
        await until(lambda: member.supervisor.status()["starts"] == 2)
        member.supervisor.start_timeout = patient  # for the old one, however busy the machine is
        status = await member.at_rest()
        assert (status["state"], status["starts"], status["rolls"]) == ("serving", 3, 0)
        assert "no 200 from" in status["last_error"]
        assert (await member.ask())["loaded"]["OPENAI_API_KEY"] == old.fingerprint


@real
async def test_supervisor_ends_when_neither_version_comes_up(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    async with supervised("--refuse", bad) as member:
        old = member.shelf.version("openai-prod")
        wanted = member.shelf.turn("openai-prod")
        bad.write_text(f"{old.fingerprint} {wanted.fingerprint}")
        await member.roll(wanted.fingerprint)
        with pytest.raises(RollFailedError, match="nor with the old one: it ended with code 3"):
            await member.task
        assert member.supervisor.status()["state"] == "failed"
        assert await member.health() == 503


@real
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_supervisor_ends_with_the_code_of_a_child_that_ends_by_itself(number: signal.Signals) -> None:
    async with supervised() as member:
        os.kill(member.supervisor.status()["pid"], number)
        assert await member.task == 128 + number
        assert await member.health() == 503


@real
async def test_child_that_ends_before_it_is_ready_gives_its_code(tmp_path: Path) -> None:
    bad, shelf = tmp_path / "bad", Shelf("openai-prod")
    bad.write_text(shelf.version("openai-prod").fingerprint)
    async with supervised("--refuse", bad, shelf=shelf) as member:
        assert await member.task == 3


@real
async def test_start_waits_for_a_store_that_is_unavailable_and_shows_why() -> None:
    shelf = Shelf("openai-prod")
    shelf.failing["openai-prod"] = [UnavailableError("the store is sealed")]
    async with supervised(shelf=shelf, ready=False) as member:
        member.clock.hold()
        await until(lambda: member.clock.paused)
        status = (await member.status()).json()
        assert (status["state"], status["versions"], status["pid"]) == ("starting", {}, None)
        assert "the store is sealed" in status["last_error"]
        assert await member.health() == await member.health("liveliness") == 503
        member.clock.release()
        await until(lambda: member.supervisor.serving)
        assert (await member.status()).json()["last_error"] == ""
        assert await member.health() == await member.health("liveliness") == 200


@real
async def test_start_gives_up_at_once_when_the_store_refuses() -> None:
    shelf = Shelf("openai-prod")
    shelf.failing["openai-prod"] = [DeniedError("may not read")]
    async with supervised(shelf=shelf) as member:
        with pytest.raises(DeniedError, match="may not read"):
            await member.task
        assert member.supervisor.status()["starts"] == 0


@real
async def test_a_stranger_on_the_port_is_not_taken_for_the_program(tmp_path: Path) -> None:
    processes, port, shelf = Processes(tmp_path), free_port(), Shelf("openai-prod")
    url = f"http://127.0.0.1:{port}/health/readiness"
    try:
        stranger = processes.start("stranger", proxy_command(port), env={"OPENAI_API_KEY": new_key().reveal()})
        await asyncio.to_thread(wait_for_http, url, seconds=30, process=stranger)
        variables = [shelf.variable("openai-prod", "OPENAI_API_KEY")]
        supervisor = Supervisor(proxy_command(port), variables, url, pause=Clock().pause)
        with pytest.raises(UnavailableError, match="something else listens"):
            await supervisor.run()
        assert supervisor.status()["starts"] == 0
    finally:
        processes.stop()


# Nothing lost -----------------------------------------------------------------------------------------------------------


@real
async def test_balancer_is_told_before_the_program_is_and_still_served_meanwhile() -> None:
    async with supervised() as member:
        old, pid = member.shelf.version("openai-prod").fingerprint, member.supervisor.status()["pid"]
        wanted = member.shelf.turn("openai-prod").fingerprint
        member.clock.hold()  # the drain does not end
        await member.roll(wanted)
        assert await member.health() == await member.health("liveliness") == 503
        answer = await member.ask()  # uvicorn takes no new connection once it has its SIGTERM
        assert (answer["pid"], answer["loaded"]["OPENAI_API_KEY"]) == (pid, old)
        member.clock.release()
        await member.at_rest()
        assert await member.health() == 200


@real
async def test_stream_in_flight_is_finished_by_the_old_program(tmp_path: Path) -> None:
    hold = tmp_path / "go-on"
    async with supervised("--hold", hold, "--chunks", 4) as member:
        old, wanted = member.shelf.version("openai-prod").fingerprint, member.shelf.turn("openai-prod").fingerprint
        async with (
            httpx.AsyncClient(timeout=30) as client,
            client.stream("POST", f"{member.url}/v1/chat/completions", json={"stream": True}) as stream,
        ):
            lines = stream.aiter_lines()
            got = [await anext(lines)]
            await member.roll(wanted)
            await until(member.refuses)
            assert member.supervisor.status()["state"] == "draining"
            hold.touch()
            got += [line async for line in lines]
        assert sum(old in line for line in got) == 4
        assert "data: [DONE]" in got
        await member.at_rest()
        assert (await member.ask())["loaded"]["OPENAI_API_KEY"] == wanted


@real
async def test_program_that_does_not_end_is_killed_after_the_grace(tmp_path: Path) -> None:
    async with supervised("--hold", tmp_path / "never", grace=timedelta(seconds=0.5)) as member:
        wanted = member.shelf.turn("openai-prod").fingerprint
        async with (
            httpx.AsyncClient(timeout=30) as client,
            client.stream("POST", f"{member.url}/v1/chat/completions", json={"stream": True}) as stream,
        ):
            await anext(stream.aiter_lines())
            await member.roll(wanted)
            status = await member.at_rest()
        assert (status["state"], status["rolls"]) == ("serving", 1)
        assert (await member.ask())["loaded"]["OPENAI_API_KEY"] == wanted


@real
async def test_workers_do_not_outlive_their_leader(tmp_path: Path) -> None:
    worker = tmp_path / "worker"
    child = await Child.start(
        ["sh", "-c", f"sleep 300 & echo $! > {worker}.new; mv {worker}.new {worker}; wait"], os.environ
    )
    await until(worker.exists)
    assert await child.stop(timedelta(seconds=20)) == -signal.SIGTERM
    await until(lambda: not _alive(int(worker.read_text())))


@real
async def test_stop_drains_first_and_answers_zero() -> None:
    async with supervised() as member:
        member.clock.hold()
        member.supervisor.stop()
        await until(lambda: member.clock.paused)
        assert await member.health() == 503
        assert (await member.roll(member.shelf.turn("openai-prod").fingerprint)).json()["busy"] is True
        await member.ask()
        member.clock.release()
        assert await member.task == 0
        assert await member.refuses()


@real
async def test_stop_while_starting_leaves_no_process() -> None:
    async with supervised("--ready-after", 60, ready=False) as member:
        await until(lambda: member.supervisor.status()["pid"])
        pid = member.supervisor.status()["pid"]
        member.supervisor.stop()
        assert await member.task == 0
        assert not Path(f"/proc/{pid}").exists()


# The control endpoint ---------------------------------------------------------------------------------------------------


@real
async def test_wrong_token_learns_nothing_and_changes_nothing(tmp_path: Path) -> None:
    socket, health = tmp_path / "control.sock", free_port()
    async with supervised(socket=socket, health=health) as member:
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        wanted = member.shelf.turn("openai-prod").fingerprint
        token = member.token.reveal()
        for wrong in ("x", token[:-1], token + "x", f"{token} {token}"):
            answers = [
                await member.status(wrong),
                await member.roll(wanted, token=wrong),
                await member.roll("x", token=wrong),
            ]
            assert [answer.status_code for answer in answers] == [401] * 3
            assert {answer.text for answer in answers} == {'{"error":"not authorised"}'}
        assert (await member.status()).json()["starts"] == 1
        for path, code in (("health/readiness", 200), ("health/liveliness", 200), ("v1/status", 404), ("v1/roll", 404)):
            async with httpx.AsyncClient(trust_env=False, headers=member.login()) as client:
                answer = await client.get(f"http://127.0.0.1:{health}/{path}")
            assert answer.status_code == code
        answers = [await member.roll(wanted, "no-such"), await member.roll("not a fingerprint")]
        assert [answer.status_code for answer in answers] == [404, 400]
        assert (await member.http.post(f"{member.base}/v1/roll", headers=member.login())).status_code == 400
    assert not socket.exists()


@real
async def test_no_key_text_in_status_or_logs(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level("DEBUG")
    async with supervised() as member:
        said = [(await member.status()).text]
        said.append((await member.roll(member.shelf.turn("openai-prod").fingerprint)).text)
        await member.at_rest()
        said += [(await member.status()).text, (await member.roll(new_key().fingerprint())).text]
        text = "\n".join([*said, caplog.text, *capfd.readouterr()])
        assert "rolled openai-prod" in text
        assert traces(member.shelf.seen[0].reveal(), member.shelf.seen)  # the search finds what is there
        assert traces(text, [*member.shelf.seen, member.token]) == []


@real
async def test_alias_variable_of_another_value_is_named_and_not_shown() -> None:
    alias = new_key()
    environment = {**os.environ, "GOOGLE_API_KEY": alias.reveal()}
    async with supervised("--env", "GEMINI_API_KEY", names={"gemini": "GEMINI_API_KEY"}, inherited=environment) as member:
        answer = await member.status()
        assert answer.json()["shadowed"] == ["GOOGLE_API_KEY"]
        assert traces(answer.text, [alias]) == []


@pytest.mark.parametrize(
    "address", ["http://0.0.0.0:4101", "192.0.2.7:4101", "http://[::]:4101", "example.com:1", "4101", "x"]
)
def test_control_listens_on_loopback_or_a_unix_socket_alone(address: str) -> None:
    with pytest.raises(MisconfiguredError), control_socket(address):
        pass


def test_unix_socket_left_by_a_dead_supervisor_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with control_socket(f"unix:{path}"), pytest.raises(MisconfiguredError), control_socket(f"unix:{path}"):
        pass
    with control_socket(f"unix:{path}") as listener:
        listener.close()
        with control_socket(f"unix:{path}"):
            assert path.is_socket()


def test_what_cannot_work_is_refused_before_anything_is_started() -> None:
    shelf, url = Shelf("a", "b"), "http://127.0.0.1:1/health/readiness"
    one, two = shelf.variable("a", "OPENAI_API_KEY"), shelf.variable("b", "OPENAI_API_KEY")
    for command, variables in (([sys.executable], [one, two]), ([sys.executable], []), (["no-such-program"], [one])):
        with pytest.raises(MisconfiguredError):
            Supervisor(command, variables, url)


def test_shadowing_names_other_values_of_the_same_provider_alone() -> None:
    key, other = new_key().reveal(), new_key().reveal()
    assert shadowing("AZURE_API_KEY", {"AZURE_API_KEY": key, "AZURE_OPENAI_API_KEY": key}) == []
    assert shadowing("AZURE_API_KEY", {"AZURE_API_KEY": key, "GEMINI_API_KEY": other, "AZURE_OPENAI_API_KEY": ""}) == []
    assert shadowing("AZURE_API_KEY", {"AZURE_API_KEY": key, "AZURE_OPENAI_API_KEY": other}) == ["AZURE_OPENAI_API_KEY"]


def test_exit_code_is_told_as_a_shell_does() -> None:
    assert [exit_code(code) for code in (0, 3, -15, -9)] == [0, 3, 143, 137]


# Seen from outside ------------------------------------------------------------------------------------------------------


def _of_process(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b"\n").decode()


class Program:
    """The supervisor as a program of its own."""

    def __init__(self, folder: Path) -> None:
        self.key, self.token, self.stripped = new_key(), KeyMaterial(secrets.token_hex(16)), new_key()
        self.file, self.processes = folder / "key", Processes(folder / "logs")
        folder.mkdir(exist_ok=True)
        self.file.write_text(self.key.reveal())
        self.port, control, health = free_port(), free_port(), free_port()
        self.control, self.health = f"http://127.0.0.1:{control}", f"http://127.0.0.1:{health}/health/readiness"
        self.login = {"Authorization": f"Bearer {self.token.reveal()}"}
        self.process = self.processes.start(
            "member",
            [
                *(sys.executable, "-m", "tests.delivery.member_program", "--key-file", str(self.file)),
                *("--port", str(self.port), "--control", self.control, "--health", f"127.0.0.1:{health}", "--"),
                *proxy_command(self.port),
            ],
            env={"KEYTURN_CONTROL_TOKEN": self.token.reveal(), "ANOTHER_SECRET": self.stripped.reveal()},
        )

    def wait(self) -> int:
        """Until it serves; the child's process id."""
        wait_for_http(self.health, seconds=60, process=self.process)
        pid: int = httpx.get(f"{self.control}/v1/status", headers=self.login).json()["pid"]
        return pid

    @property
    def log(self) -> str:
        return (self.processes.logs / "member.log").read_text()


@pytest.fixture
def program(tmp_path: Path) -> Iterable[Program]:
    started = Program(tmp_path)
    yield started
    started.processes.stop()


@real
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_key_is_in_the_childs_environment_and_nowhere_else(program: Program) -> None:
    child, old = program.wait(), program.key
    new = new_key()
    program.file.write_text(new.reveal())
    body = {"credential": "openai-prod", "fingerprint": new.fingerprint()}
    assert httpx.post(f"{program.control}/v1/roll", json=body, headers=program.login, timeout=60).status_code == 202
    wait_for_http(program.health, seconds=60, process=program.process)
    rolled: int = httpx.get(f"{program.control}/v1/status", headers=program.login).json()["pid"]
    assert rolled != child
    environment = _of_process(rolled, "environ")
    assert f"OPENAI_API_KEY={new.reveal()}" in environment.splitlines()
    assert "KEYTURN_" not in environment
    assert traces(environment, [old, program.token, program.stripped]) == []
    supervisor = program.process.pid
    for text in (_of_process(supervisor, "environ"), _of_process(supervisor, "cmdline"), _of_process(rolled, "cmdline")):
        assert text
        assert traces(text, [old, new]) == []
    assert traces(_of_process(supervisor, "cmdline"), [program.token]) == []
    assert "rolled openai-prod" in program.log
    assert traces(program.log, [old, new, program.token]) == []


@real
@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_signals_end_supervisor_and_child_together(program: Program, tmp_path: Path) -> None:
    child = program.wait()
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(60) == 0
    assert not Path(f"/proc/{child}").exists()

    second = Program(tmp_path / "second")
    try:
        child = second.wait()
        second.process.kill()
        second.process.wait()
        asyncio.run(until(lambda: not _alive(child)))
    finally:
        second.processes.stop()


def _alive(pid: int) -> bool:
    """A zombie that nobody reaps has ended, too."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_clock_of_the_tests_holds() -> None:
    async def held() -> bool:
        clock = Clock()
        clock.hold()
        pause = asyncio.create_task(clock.pause(1))
        await asyncio.sleep(0)
        before = pause.done()
        clock.release()
        await pause
        return before

    assert asyncio.run(held()) is False
