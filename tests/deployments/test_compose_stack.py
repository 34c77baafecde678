"""docker-compose.yml, by its form: no engine is needed. Compose itself reads it, in both profiles, with everything filled
in; its commands are those that other tests start as processes."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import Settings
from prefect.settings.models.server.root import ServerSettings

from keyturn.config import load
from keyturn.material import KeyMaterial
from keyturn.testing import programs
from keyturn.testing.litellm import command

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DEPLOYMENTS = ROOT / "deployments"
EXAMPLE = (DEPLOYMENTS / "compose.env.example").read_text()
PROFILES = ["small", "large"]

# Programs without a port, and one that ends.
UNASKED = {"worker", "prefect-services", "prefect-migration"}
ROTATORS = {"worker", "incidents"}
REPLICAS = {"prefect-1", "prefect-2", "prefect-services", "prefect-migration"}
ASKED_FOR = re.compile(r"PASSWORD|TOKEN|KEY$|SECRET|AUTH_STRING|ROLE_ID")
DIGEST = re.compile(r"[a-z/]+:[\w.-]+@sha256:[0-9a-f]{64}")


def names_in(example: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))


# Every variable of the example has a value, so that none is missed for want of one.
FILLED = {name: value or f"{name.lower()}-{secrets.token_hex(8)}" for name, value in names_in(EXAMPLE).items()}


def compose(folder: Path, file: Path, profile: str, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "env").write_text("".join(f"{name}={value}\n" for name, value in FILLED.items()))
    program = [str(_program()), "--project-directory", str(ROOT)]
    program += ["--env-file", str(folder / "env"), "--profile", profile, "-f", str(file), "config", *words]
    # Nothing of the environment: a variable that is set here would hide one that is missing there.
    return subprocess.run(program, env={"HOME": str(folder)}, capture_output=True, text=True, check=False)


def _program() -> Path:
    """Of the wheel its program itself: what it puts beside Python ends with 0 whatever Compose says."""
    spec = find_spec("compose")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).with_name("docker-compose")


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The whole, by profile, as Compose understands it."""
    found = {}
    for profile in PROFILES:
        done = compose(tmp_path_factory.mktemp(profile), COMPOSE, profile, "--format", "json")
        assert (done.returncode, done.stderr) == (0, "")
        found[profile] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def services(read: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    both: dict[str, dict[str, Any]] = read["small"]["services"] | read["large"]["services"]
    return both


@pytest.mark.parametrize("profile", PROFILES)
def test_compose_takes_it_without_a_word(profile: str, tmp_path: Path) -> None:
    done = compose(tmp_path, COMPOSE, profile, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_compose_would_say_so(tmp_path: Path) -> None:
    (tmp_path / "wrong.yml").write_text("services: {one: {image: one, read-only: true}}\n")
    assert compose(tmp_path, tmp_path / "wrong.yml", "small", "-q").returncode != 0


def test_a_profile_has_the_parts_that_it_is_for(read: dict[str, dict[str, Any]]) -> None:
    always = {"member-1", "member-2", "balancer", "worker", "incidents", "openbao"}
    assert read["small"]["services"].keys() == always | {"prefect"}
    assert read["large"]["services"].keys() == always | REPLICAS | {"prefect-front", "postgres", "redis"}


# Secrets ----------------------------------------------------------------------------------------------------------------


def test_it_asks_for_the_variables_of_its_example_which_has_no_value_but_the_profile() -> None:
    text = COMPOSE.read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+)(?::\?|:-\})", text))
    listed = names_in(EXAMPLE)
    assert listed.pop("COMPOSE_PROFILES") == "small"
    assert asked == set(listed)
    assert not any(listed.values())


def test_no_secret_stands_in_it() -> None:
    """As it is written, before anything is filled in."""
    for name, service in yaml.safe_load(COMPOSE.read_text())["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            if ASKED_FOR.search(variable):
                assert re.fullmatch(r"\$\{[A-Z_]+:(-|\?[a-z .]+)\}", value), f"{name}: {variable}"
            elif "://" in str(value):
                assert re.search(r"//[^/@]*@", value) is None or "//:${REDIS_PASSWORD:-}@" in value, f"{name}: {variable}"


def test_only_who_rotates_is_given_the_admin_key(services: dict[str, dict[str, Any]]) -> None:
    having = {name for name, each in services.items() if "OPENAI_ADMIN_KEY" in (each.get("environment") or {})}
    assert having == ROTATORS


# What a container may do ------------------------------------------------------------------------------------------------


def test_every_service_is_held_short(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service.get("cap_add", []) in ([], ["NET_BIND_SERVICE"]), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"].split(":")[0] not in ("", "0", "root"), name
        limits = service["deploy"]["resources"]["limits"]
        assert limits.keys() >= {"cpus", "memory", "pids"}, name
        assert service["logging"]["options"]["max-size"], name
        assert not service.keys() & {"privileged", "network_mode", "pid", "ipc", "devices"}, name
        assert not any("docker.sock" in str(mount) for mount in service.get("volumes", [])), name


def test_every_service_is_asked_how_it_is(services: dict[str, dict[str, Any]]) -> None:
    assert {name for name, each in services.items() if "healthcheck" not in each} == UNASKED
    for name, service in services.items():
        for other, how in (service.get("depends_on") or {}).items():
            if other not in UNASKED:
                assert how["condition"] == "service_healthy", f"{name} waits for {other}"


def test_it_is_open_to_this_host_alone_unless_told_otherwise(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}, name


def test_what_holds_data_is_on_networks_without_a_way_out(read: dict[str, dict[str, Any]]) -> None:
    large = read["large"]
    inside = {name for name, each in large["networks"].items() if each.get("internal")}
    assert inside == {"vault", "data"}
    of = {name: set(service["networks"]) for name, service in large["services"].items()}
    assert of["postgres"] == of["redis"] == {"data"}
    assert of["openbao"] == {"vault"}
    assert {name for name, networks in of.items() if "data" in networks} == {"postgres", "redis", *REPLICAS}


def test_an_image_that_is_not_built_here_is_pinned_or_left_to_a_variable() -> None:
    for name, service in yaml.safe_load(COMPOSE.read_text())["services"].items():
        if "build" in service:
            assert DIGEST.fullmatch(service["build"]["args"]["PYTHON_IMAGE"].partition(":-")[2].rstrip("}")), name
            continue
        variable, _, default = service["image"].removeprefix("${").removesuffix("}").partition(":-")
        assert re.fullmatch(r"[A-Z]+_IMAGE", variable), name
        # No record of this one's digests could be had: docs/compose.md says how it is pinned.
        assert DIGEST.fullmatch(default) or variable == "OPENBAO_IMAGE", name


def test_the_recipes_begin_with_the_image_that_compose_names() -> None:
    wanted = yaml.safe_load(COMPOSE.read_text())["x-python-image"]["PYTHON_IMAGE"].partition(":-")[2].rstrip("}")
    for recipe in ("Dockerfile", "litellm.Dockerfile"):
        assert f"ARG PYTHON_IMAGE={wanted}\n" in (DEPLOYMENTS / recipe).read_text()


# Programs ---------------------------------------------------------------------------------------------------------------

STARTED: dict[str, Sequence[str]] = {
    "worker": programs.SERVE,
    "incidents": programs.INCIDENTS,
    "prefect": programs.prefect_server("0.0.0.0", 4200),
    "prefect-1": programs.prefect_replica("0.0.0.0", 4200),
    "prefect-2": programs.prefect_replica("0.0.0.0", 4200),
    "prefect-services": programs.PREFECT_SERVICES,
    "prefect-migration": programs.PREFECT_MIGRATION,
    "prefect-front": programs.caddy(Path("/etc/caddy/Caddyfile")),
    "balancer": programs.caddy(Path("/etc/caddy/Caddyfile")),
    "openbao": programs.openbao(Path("/openbao/config/openbao.hcl")),
    "redis": programs.redis(Path("/etc/keyturn/redis.sh")),
    "postgres": ["postgres"],  # which the image's own entrypoint sets up; the tests set it up by initdb
}


def test_each_command_is_one_that_the_tests_start(services: dict[str, dict[str, Any]]) -> None:
    found = {name: [*(each["entrypoint"] or []), *each["command"]] for name, each in services.items()}
    members = {name: found.pop(name) for name in ("member-1", "member-2")}
    assert found == {name: list(words) for name, words in STARTED.items()}
    proxy = command(Path("/etc/keyturn/litellm.yaml"), 4001, KeyMaterial("sk-" + secrets.token_hex(16)), Path("litellm"))
    for words in members.values():
        call, litellm = words[: words.index("--")], words[words.index("--") + 1 :]
        # The supervisor's options: --control as the members of the installation, --health as tests/delivery.
        assert call[:3] == ["keyturn", "exec", "--proxy"]
        assert [word for word in call if word.startswith("--")] == ["--proxy", "--control", "--health"]
        assert [word for word in litellm if word.startswith("--")] == [
            word for word in proxy.argv if word.startswith("--") and word != "--num_workers"
        ]


def test_the_configuration_fits_the_members_the_balancer_and_the_incident_service(
    services: dict[str, dict[str, Any]],
) -> None:
    config = load(DEPLOYMENTS / "compose.keyturn.yaml")
    for proxy, part in config.proxies.items():
        for member in part.settings.model_dump()["members"]:
            host, port = member["url"].removeprefix("http://").split(":")
            words = services[host]["command"]
            assert words[words.index("--proxy") + 1] == proxy
            assert words[words.index("--control") + 1] == member["control"]
            assert words[words.index("--port") + 1] == port
            assert f"{host}:{port}" in (DEPLOYMENTS / "Caddyfile").read_text()
    proxied = yaml.safe_load((DEPLOYMENTS / "litellm.example.yaml").read_text())["model_list"]
    assert {each.canary.model for each in config.credentials.values()} <= {each["model_name"] for each in proxied}
    assert config.incidents is not None
    assert [port["target"] for port in services["incidents"]["ports"]] == [config.incidents.port]
    assert f"incidents:{config.incidents.port}" in (DEPLOYMENTS / "Caddyfile.front").read_text()


def adapted(caddyfile: str) -> dict[str, Any]:
    """Caddy's servers by the port that they listen at, as Caddy understands the file."""
    words = [*programs.installed(("caddy",)), "adapt", "--adapter", "caddyfile", "--config", DEPLOYMENTS / caddyfile]
    servers = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)["apps"]["http"]["servers"]
    return {server["listen"][0].removeprefix(":"): server for server in servers.values()}


@pytest.mark.parametrize(("caddyfile", "service"), [("Caddyfile", "balancer"), ("Caddyfile.front", "prefect-front")])
def test_caddy_hands_on_to_services_that_it_shares_a_network_with(
    caddyfile: str, service: str, services: dict[str, dict[str, Any]]
) -> None:
    for server in adapted(caddyfile).values():
        for upstream in server["routes"][0]["handle"][0]["upstreams"]:
            other = services[upstream["dial"].partition(":")[0]]
            assert set(other["networks"]) & set(services[service]["networks"]), upstream


def test_what_the_front_publishes_speaks_tls_and_nothing_else_does(services: dict[str, dict[str, Any]]) -> None:
    servers = adapted("Caddyfile.front")
    published = {port["published"] for port in services["prefect-front"]["ports"]}
    assert {port for port, server in servers.items() if "tls_connection_policies" in server} == published
    plain = servers.keys() - published
    assert services["worker"]["environment"]["PREFECT_API_URL"] in {f"http://prefect:{port}/api" for port in plain}
    assert services["prefect-front"]["networks"]["prefect"]["aliases"] == ["prefect"]


# Prefect ----------------------------------------------------------------------------------------------------------------


def understood(environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> ServerSettings:
    """What Prefect makes of a container's variables."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return Settings().server


def test_prefects_servers_share_what_they_have_to(
    services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environs = {name: services[name]["environment"] for name in sorted(REPLICAS)}
    for name, environ in environs.items():
        assert environ.items() >= programs.REPLICATED.items(), name
        assert environ["PREFECT_REDIS_MESSAGING_PASSWORD"] in environ["PREFECT_SERVER_DOCKET_URL"], name
    second = environs.pop("prefect-2")
    assert second == environs["prefect-1"] | programs.NOT_THE_FIRST
    assert all(environ == environs["prefect-1"] for environ in environs.values())
    settings = understood(second, monkeypatch)
    url = settings.database.connection_url
    password = second["PREFECT_SERVER_DATABASE_PASSWORD"]
    assert url is not None and url.get_secret_value() == f"postgresql+asyncpg://prefect:{password}@postgres:5432/prefect"
    assert not settings.database.migrate_on_start
    assert not settings.register_blocks_on_start
    assert settings.docket.url.endswith("@redis:6379/1")
    assert settings.events.messaging_broker == settings.events.messaging_cache == "prefect_redis.messaging"
    assert settings.concurrency.lease_storage == "prefect_redis.lease_storage"


@pytest.mark.parametrize("name", ["prefect", "prefect-1", "prefect-2"])
def test_prefects_servers_want_a_login(
    name: str, services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = understood(services[name]["environment"], monkeypatch)
    assert settings.api.auth_string is not None
    assert settings.api.auth_string.get_secret_value() == services["worker"]["environment"]["PREFECT_API_AUTH_STRING"]
    assert settings.api.csrf_protection_enabled
