"""keyturn exec without --control, as it is typed: what the program is given, what it becomes, and when it is not started."""

from __future__ import annotations

import json
import os
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from keyturn.material import KeyMaterial
from keyturn.testing.aws_double import AWSDouble, Kind
from keyturn.testing.embedded import keyturn_program
from keyturn.testing.openbao import OpenBao
from tests.delivery.lean.conftest import Scene, aws_scene, vault_scene, with_a_pair
from tests.delivery.pairs import BOTH
from tests.delivery.waiting import until_true
from tests.hostile import tells

pytestmark = pytest.mark.real

SHOW = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)), flush=True)"]
LEAN, FULL = ("--",), ()  # without `--` a call is no plain one


@pytest.fixture(params=["vault", "aws"])
def scene(request: pytest.FixtureRequest, bao: OpenBao, double: tuple[AWSDouble, str], tmp_path: Path) -> Scene:
    return vault_scene(bao, tmp_path) if request.param == "vault" else aws_scene(double[1], tmp_path)


def typed(*options: str, marks: Sequence[str] = LEAN, program: Sequence[str] = SHOW) -> list[str]:
    return [str(keyturn_program()), "exec", "--proxy", "local", *options, *marks, *program]


def run(scene: Scene, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, env={**scene.environment, **more}, capture_output=True, text=True, timeout=120, check=False
    )
    assert not any(tells(done.stderr, key) for key in scene.keys.values())
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("marks", [LEAN, FULL], ids=["lean", "full"])
def test_the_program_is_given_the_keys_and_nothing_of_keyturns_own(marks: Sequence[str], scene: Scene) -> None:
    environment = {**scene.environment, "MINE": "kept", "KEYTURN_ANYTHING": "x"}
    done = subprocess.run(typed(marks=marks), env=environment, capture_output=True, text=True, timeout=120, check=False)
    given = json.loads(done.stdout)
    given.pop("LC_CTYPE", None)  # Python's own, in the C locale
    used = {name for name in scene.variables if f"env:{name}" in scene.config.read_text()}
    wanted = {name: value for name, value in environment.items() if not name.startswith("KEYTURN_") and name not in used}
    wanted.pop("OPENAI_ADMIN_KEY")
    assert given == {**wanted, **scene.keys}
    assert (
        "starting the program with openai-prod " + KeyMaterial(scene.keys["OPENAI_API_KEY"]).fingerprint()
    ) in done.stderr


@pytest.mark.parametrize("marks", [LEAN, FULL], ids=["lean", "full"])
def test_a_key_of_two_parts_is_two_variables_or_nothing_is_started(
    marks: Sequence[str], double: tuple[AWSDouble, str], tmp_path: Path
) -> None:
    scene = with_a_pair(aws_scene(double[1], tmp_path), double[1])
    done = run(scene, typed(marks=marks), AWS_SESSION_TOKEN="of another", AWS_ACCESS_KEY_ID="another")
    given, parts = json.loads(done.stdout), json.loads(scene.keys[BOTH])
    assert {name: value for name, value in given.items() if name.startswith("AWS_")} == parts
    assert f"bedrock {KeyMaterial(scene.keys[BOTH]).fingerprint()}" in done.stderr
    assert "AWS_SESSION_TOKEN is set in keyturn's own environment, and belongs to another key" in done.stderr
    assert not [text for text in parts.values() if text in done.stderr]

    (tmp_path / "spoilt").mkdir()
    text = f"AKIA-{secrets.token_hex(20)}"
    scene = with_a_pair(aws_scene(double[1], tmp_path / "spoilt"), double[1], text)
    done = run(scene, typed(marks=marks))
    assert (done.returncode, done.stdout) == (2, "")
    assert "credentials.bedrock: a key of several parts is not the JSON object" in done.stderr


def test_both_ways_warn_of_the_same(scene: Scene) -> None:
    text = scene.config.read_text()
    scene.config.write_text(text.replace("env: WHOLE_KEY", "env: GEMINI_API_KEY"))
    more = {"GOOGLE_API_KEY": "stale", "OPENAI_API_KEY": "older"}
    said = [[line[24:] for line in run(scene, typed(marks=marks), **more).stderr.splitlines()] for marks in (LEAN, FULL)]
    assert said[0] == said[1]
    assert any("may be read instead of ours: GOOGLE_API_KEY" in line for line in said[0])
    assert any("OPENAI_API_KEY is set in keyturn's own environment" in line for line in said[0])


@pytest.mark.parametrize("marks", [LEAN, FULL], ids=["lean", "full"])
def test_it_becomes_the_program_with_its_id_its_signals_and_its_exit_code(marks: Sequence[str], scene: Scene) -> None:
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda n, f: sys.exit(41))\n"
        "usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "alarm = signal.getsignal(signal.SIGALRM) is signal.SIG_DFL\n"
        "print(os.getpid(), usual, signal.getitimer(signal.ITIMER_REAL), alarm, sys.stdin.readline().strip(), flush=True)\n"
        "signal.pause()"
    )
    command = typed(marks=marks, program=[sys.executable, "-c", code])
    process = subprocess.Popen(
        command,
        env=scene.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("typed\n")
    process.stdin.flush()
    assert process.stdout.readline().strip() == f"{process.pid} True (0.0, 0.0) True typed"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 41


@pytest.mark.parametrize("marks", [LEAN, FULL], ids=["lean", "full"])
def test_a_pipe_that_breaks_ends_the_program_as_it_does_without_keyturn(marks: Sequence[str], scene: Scene) -> None:
    """Python ignores SIGPIPE, and what is ignored stays so over exec."""
    done = run(scene, typed(marks=marks, program=["sh", "-c", "kill -PIPE $$; exit 5"]))
    assert done.returncode == -signal.SIGPIPE


@pytest.mark.parametrize("marks", [LEAN, FULL], ids=["lean", "full"])
def test_its_state_says_which_process_has_which_versions(marks: Sequence[str], scene: Scene, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    code = "import os; print(os.getpid(), open('/proc/self/stat').read().rpartition(')')[2].split()[19])"
    done = run(scene, typed("--state", str(state), marks=marks, program=[sys.executable, "-c", code]))
    told = json.loads(state.read_text())
    assert f"{told['pid']} {told['started']}" == done.stdout.strip()
    wanted = {"openai-prod": scene.keys["OPENAI_API_KEY"], "openai-whole": scene.keys["WHOLE_KEY"]}
    fingerprints = {name: each["fingerprint"] for name, each in told["credentials"].items()}
    assert fingerprints == {name: KeyMaterial(key).fingerprint() for name, key in wanted.items()}
    assert all(each["id"] for each in told["credentials"].values())
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.glob("state*")] == ["state.json"]
    assert not any(tells(state.read_text(), key) for key in scene.keys.values())


def test_a_state_that_cannot_be_written_stops_it_before_it_starts(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    done = run(scene, typed("--state", str(tmp_path / "state")))
    assert (done.returncode, done.stdout) == (2, "")
    assert "--state cannot be written" in done.stderr


def test_a_program_that_the_system_does_not_start_leaves_no_state(scene: Scene, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o700)
    done = run(scene, typed("--state", str(tmp_path / "state"), program=[str(broken)]))
    assert (done.returncode, "cannot be started" in done.stderr) == (127, True)
    assert not (tmp_path / "state").exists()


# It fails closed --------------------------------------------------------------------------------------------------------


def test_a_sealed_store_is_waited_for_and_then_nothing_is_started(bao: OpenBao, tmp_path: Path) -> None:
    scene = vault_scene(bao, tmp_path)
    bao.seal()
    try:
        done = run(scene, typed("--start-timeout", "1s"))
    finally:
        bao.unseal()
    assert (done.returncode, done.stdout) == (6, "")
    assert "is sealed (503)" in done.stderr and "trying again" in done.stderr


def test_a_store_that_comes_back_in_time_is_read(bao: OpenBao, tmp_path: Path) -> None:
    scene = vault_scene(bao, tmp_path)
    bao.seal()
    unsealed = False
    process = subprocess.Popen(
        typed("--start-timeout", "120s"), env=scene.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "trying again" in line and not unsealed:
                bao.unseal()
                unsealed = True
        assert unsealed
        assert process.stdout is not None
        assert scene.keys.items() <= json.loads(process.stdout.read()).items()
        assert process.wait(30) == 0
    finally:
        if not unsealed:
            bao.unseal()
        process.kill()
        process.wait()


def test_a_signal_ends_the_wait_at_once(bao: OpenBao, tmp_path: Path) -> None:
    scene = vault_scene(bao, tmp_path)
    bao.seal()
    process = subprocess.Popen(typed(), env=scene.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert any("trying again" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    finally:
        bao.unseal()
        process.kill()
        process.wait()


def test_what_is_refused_is_not_waited_for(bao: OpenBao, double: tuple[AWSDouble, str], tmp_path: Path) -> None:
    scene = vault_scene(bao, tmp_path)
    done = run(scene, typed(), VAULT_TOKEN="s." + secrets.token_hex(8))
    assert (done.returncode, done.stdout) == (6, "")
    assert "refuses to read" in done.stderr and "trying again" not in done.stderr
    aws = aws_scene(double[1], tmp_path / "aws")
    double[0].inject("GetSecretValue", Kind.DENIED, times=0)
    try:
        done = run(aws, typed())
    finally:
        double[0].heal()
    assert (done.returncode, done.stdout) == (6, "")
    assert "AWS refuses GetSecretValue" in done.stderr


def test_what_is_configured_wrongly_is_told_with_2(bao: OpenBao, tmp_path: Path) -> None:
    scene = vault_scene(bao, tmp_path)
    assert "VAULT_TOKEN" in run(scene, typed(), VAULT_TOKEN="").stderr
    text = scene.config.read_text()
    scene.config.write_text(text.replace("project: proj_abc", "projekt: proj_abc"))
    done = run(scene, typed())
    assert (done.returncode, done.stdout) == (2, "")
    assert "providers.org.projekt (line 3): unknown setting" in done.stderr


# The cache --------------------------------------------------------------------------------------------------------------


def test_the_last_known_keys_are_used_while_the_store_is_sealed_and_not_when_it_refuses(
    bao: OpenBao, tmp_path: Path
) -> None:
    scene = vault_scene(bao, tmp_path)
    scene.variables["CACHE_SECRET"] = secrets.token_hex(32)
    caching = ("--cache", str(tmp_path / "cache"), "--cache-key", "env:CACHE_SECRET", "--start-timeout", "1s")
    assert run(scene, typed(*caching)).returncode == 0
    content = (tmp_path / "cache").read_bytes()
    assert not any(key.encode()[8:24] in content for key in scene.keys.values())
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o600
    bao.seal()
    try:
        done = run(scene, typed(*caching))
        other = run(scene, typed(*caching), CACHE_SECRET=secrets.token_hex(32))
        none = run(scene, typed("--start-timeout", "1s"))
    finally:
        bao.unseal()
    given = json.loads(done.stdout)
    assert scene.keys.items() <= given.items() and "CACHE_SECRET" not in given
    assert "THE STORE OF openai-prod IS UNAVAILABLE" in done.stderr
    assert (other.returncode, other.stdout) == (6, "") and "made with another secret" in other.stderr
    assert (none.returncode, none.stdout) == (6, "")
    refused = run(scene, typed(*caching), VAULT_TOKEN="s." + secrets.token_hex(8))
    assert (refused.returncode, refused.stdout) == (6, "")
    bao.root.secrets.kv.v2.delete_latest_version_of_secret("litellm/whole")
    gone = run(scene, typed(*caching))
    assert (gone.returncode, gone.stdout) == (6, "")


def test_a_program_may_be_replaced_while_others_look_at_it(scene: Scene) -> None:
    """What a person sees of the launcher in /proc before it is the program has no key in it."""
    process = subprocess.Popen(typed(program=["sleep", "60"]), env=scene.environment, stderr=subprocess.DEVNULL)
    seen: list[bytes] = []
    try:

        def is_the_program() -> bool:
            folder = Path(f"/proc/{process.pid}")
            words = (folder / "cmdline").read_bytes()
            if words.startswith(b"sleep"):
                return True
            seen.append(words + (folder / "environ").read_bytes())
            return False

        until_true(is_the_program)
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert all(key.encode() in environment for key in scene.keys.values())
        assert not any(key.encode() in each for key in scene.keys.values() for each in seen[:-1])
    finally:
        process.kill()
        process.wait()
    assert os.getpid() != process.pid
