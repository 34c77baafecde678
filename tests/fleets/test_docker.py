"""Containers as a fleet, against the double: what is told, what is made anew, and what is looked at before."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from keyturn.errors import MisconfiguredError, RollFailedError, UnavailableError
from keyturn.fleets.docker import DockerFleet
from keyturn.model import Member, VersionRef
from keyturn.ports import ProxyFleet
from keyturn.testing.docker_containers import DoubleContainer
from tests.fleets.docker_scene import MASTER, STATE, Scene
from tests.test_house import ROOT

KEY = "openai-prod"
BOTH = pytest.mark.parametrize("roll", ["restart", "recreate"])


async def first(fleet: DockerFleet) -> Member:
    return (await fleet.members())[0]


# Settings ---------------------------------------------------------------------------------------------------------------


def test_it_is_a_fleet() -> None:
    port: ProxyFleet = Scene(roll="recreate").fleet()  # mypy: it is one
    assert port is not None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"service": None}, "project and service go together"),
        ({"project": None, "service": None}, "which containers are the members"),
        ({"roll": "restart", "state": None}, "needs state"),
        ({"roll": "recreate", "state": STATE}, "state is for roll: restart"),
        ({"engine": "tcp://127.0.0.1:2375"}, "must be unix:/PATH, or http"),
        ({"engine": "http://user:word@127.0.0.1:2375"}, "without a user name"),
        ({"tls": {"ca": "/ca.pem"}}, "tls is for an engine at https"),
        ({"engine": "https://127.0.0.1:1", "tls": {"key": "/key.pem"}}, "go together"),
        ({"address": "published"}, "network is for address: network"),
        ({"stop_timeout": "10m"}, "must be longer than stop_timeout"),
        ({"labels": ["a b"]}, "should match pattern"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Scene(roll="recreate").fleet(**settings)


def test_a_socket_may_be_written_as_docker_writes_it() -> None:
    fleet = Scene(roll="recreate").fleet(engine="unix:///var/run/docker.sock")
    assert fleet.settings.engine == "unix:/var/run/docker.sock"


# Members ----------------------------------------------------------------------------------------------------------------


@BOTH
async def test_members_are_the_services_containers_each_with_its_own_address(roll: str) -> None:
    scene = Scene(roll=roll)
    one, other = await scene.start()
    scene.engine.create("stranger", {"Image": "litellm:1", "Labels": {"com.docker.compose.project": "llm"}})
    fleet = scene.fleet()
    assert [(each.name, each.url) for each in await fleet.members()] == [
        ("llm-proxy-1", f"http://{one.address}:4000"),
        ("llm-proxy-2", f"http://{other.address}:4000"),
    ]


async def test_members_of_other_labels_by_their_published_port() -> None:
    scene = Scene(roll="recreate", project=None, service=None, labels=["app=llm"], network=None, address="published")
    ports = {"4000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "14000"}]}  # as an engine writes it
    await scene.start(1, Labels={"app": "llm"}, HostConfig={"PortBindings": ports})
    assert (await first(scene.fleet())).url == "http://127.0.0.1:14000"


async def test_a_container_that_is_stopped_is_a_member_and_serves_nothing_that_is_known() -> None:
    scene = Scene(roll="recreate")
    one, _ = await scene.start()
    await scene.engine.stop(one, 1)
    member = await first(scene.fleet())
    assert (member.name, member.url) == ("llm-proxy-1", "")
    assert await scene.fleet().serving(member, KEY) is None
    with pytest.raises(RollFailedError, match="is stopped, and not by keyturn"):
        await scene.fleet().roll(member, KEY, scene.turn().version)


# What is served ---------------------------------------------------------------------------------------------------------


@BOTH
async def test_what_it_was_made_or_started_with_is_what_it_serves(roll: str) -> None:
    scene = Scene(roll=roll)
    await scene.start()
    old = scene.current.version
    fleet = await scene.ready()
    member = await first(fleet)
    scene.turn()  # nobody was rolled
    assert await fleet.serving(member, KEY) == old
    assert await fleet.serving(member, "other") == scene.other.version


async def test_a_restart_by_somebody_else_does_not_change_an_environment() -> None:
    scene = Scene(roll="recreate")
    one, _ = await scene.start()
    old = scene.current.version
    scene.turn()
    await scene.engine.restart(one, 1)
    fleet = await scene.ready()
    assert await fleet.serving(await first(fleet), KEY) == old


@BOTH
async def test_nothing_is_told_before_it_is_ready(roll: str) -> None:
    scene = Scene(roll=roll)
    scene.play = lambda played: setattr(played, "slow", 1_000)
    await scene.start()
    fleet = scene.fleet()
    for _ in range(5):
        assert await fleet.serving(await first(fleet), KEY) is None


async def test_what_the_run_before_wrote_down_is_not_believed() -> None:
    """The container was restarted, and its program has not read its keys yet: its file is the old one's."""
    scene = Scene(roll="restart")
    one, _ = await scene.start()
    fleet = await scene.ready()
    scene.turn()
    await scene.engine.restart(one, 1)
    scene.programs[0].reading = 1_000
    scene.programs[0].slow = -1_000
    assert scene.programs[0].looked_at(), "it is ready, as far as it says"
    assert await fleet.serving(await first(fleet), KEY) is None


@pytest.mark.parametrize("mount", [{"Binds": ["shared:/run"]}, {"Tmpfs": {"/run/keyturn": ""}}])
async def test_a_state_in_a_mount_is_not_believed(mount: dict[str, Any]) -> None:
    scene = Scene(roll="restart")
    await scene.start(HostConfig=mount)
    fleet = scene.fleet()
    for _ in range(5):
        assert await fleet.serving(await first(fleet), KEY) is None
    wrong = [each for each in await fleet.preflight(KEY) if each.ok is False]
    assert {each.what for each in wrong} == {"llm-proxy-1: state", "llm-proxy-2: state"}
    assert all("mounted" in each.detail for each in wrong)


async def test_a_label_that_does_not_fit_the_environment_makes_it_unknown() -> None:
    """Somebody's tool has copied a container of ours, labels and all, with another key."""
    scene = Scene(roll="recreate")
    await scene.start()
    fleet = await scene.ready()
    member = await first(fleet)
    await fleet.roll(member, KEY, scene.turn().version)
    made = scene.engine.named("llm-proxy-1")
    made.config["Env"] = [each for each in made.config["Env"] if "OPENAI" not in each] + ["OPENAI_API_KEY=sk-other"]
    assert await fleet.serving(member, KEY) is None


# Rolling ----------------------------------------------------------------------------------------------------------------


@BOTH
async def test_a_roll_is_one_start_and_repeated_none(roll: str) -> None:
    scene = Scene(roll=roll)
    await scene.start()
    fleet = await scene.ready()
    member = await first(fleet)
    new = scene.turn().version
    await fleet.roll(member, KEY, new)
    assert await fleet.serving(member, KEY) == new
    await fleet.roll(member, KEY, new)
    assert scene.engine.starts == 3
    assert scene.names() == ["llm-proxy-1", "llm-proxy-2"]


async def test_the_successor_is_the_same_container_but_for_the_key() -> None:
    scene = Scene(roll="recreate")
    ports = {"4000/tcp": [{"HostIp": "", "HostPort": ""}]}
    before = (await scene.start(1, HostConfig={"PortBindings": ports, "Memory": 7, "Binds": ["data:/data:ro"]}))[0]
    fleet = await scene.ready()
    await fleet.roll(await first(fleet), KEY, scene.turn().version)
    after = scene.engine.named("llm-proxy-1")
    assert after.id != before.id
    assert after.environment == {**before.environment, "OPENAI_API_KEY": scene.current.material.reveal()}
    assert [each.partition("=")[0] for each in after.config["Env"]] == [MASTER, "OPENAI_API_KEY", "EMPTY", "OTHER_KEY"]
    assert after.host_config == before.host_config
    assert after.networks == before.networks
    assert {name: each for name, each in after.labels.items() if not name.startswith("keyturn.")} == before.labels
    for name in ("Cmd", "Image", "Healthcheck", "StopTimeout"):
        assert after.config[name] == before.config[name]
    assert after.config["Hostname"] == after.id[:12]
    assert after.image == before.image


async def test_a_roll_brings_no_other_image_than_the_one_that_runs() -> None:
    """The name was pulled anew meanwhile, and stands for another program."""
    scene = Scene(roll="recreate")
    before = (await scene.start(1))[0]
    scene.engine.images["litellm:1"] = "sha256:" + "0" * 64
    fleet = await scene.ready()
    await fleet.roll(await first(fleet), KEY, scene.turn().version)
    assert scene.engine.named("llm-proxy-1").image == before.image


async def test_volumes_without_a_name_stay_with_the_member() -> None:
    scene = Scene(roll="recreate")
    before = (await scene.start(1, Volumes={"/data": {}}))[0]
    volume = before.inspected(scene.engine.network_id)["Mounts"][0]["Name"]
    fleet = await scene.ready()
    await fleet.roll(await first(fleet), KEY, scene.turn().version)
    assert scene.engine.named("llm-proxy-1").host_config["Binds"] == [f"{volume}:/data"]


def ups(scene: Scene) -> list[str]:
    """What is told of the engine in order: starts, stops and removals."""
    verbs = ("start", "stop", "restart")
    return [each.rpartition("/")[2] for each in scene.engine.calls if each.rpartition("/")[2] in verbs]


@pytest.mark.parametrize(
    "host",
    [
        {"PortBindings": {"4000/tcp": [{"HostIp": "", "HostPort": "14000"}]}},
        {"NetworkMode": "host"},
    ],
    ids=["fixed port", "host network"],
)
async def test_what_only_one_can_have_is_given_up_first(host: dict[str, Any]) -> None:
    scene = Scene(roll="recreate", network=None)
    if host.get("NetworkMode") == "host":
        scene.more["network"] = None
    await scene.start(1, HostConfig=host)
    if host.get("NetworkMode") == "host":
        # Its address is the engine's: nothing answers there in this scene, so only the order is looked at.
        with pytest.raises(RollFailedError, match="The old container serves"):
            await scene.fleet().roll(await first(scene.fleet()), KEY, scene.turn().version)
        assert ups(scene) == ["stop", "start", "stop", "start"]
        return
    fleet = await scene.ready()
    await fleet.roll(await first(fleet), KEY, scene.turn().version)
    assert ups(scene) == ["stop", "start"]


@pytest.mark.parametrize(("surge", "order"), [(True, ["start", "stop"]), (False, ["stop", "start"])])
async def test_else_the_successor_is_up_before_the_old_one_ends(surge: bool, order: list[str]) -> None:
    scene = Scene(roll="recreate", surge=surge)
    await scene.start(1)
    fleet = await scene.ready()
    await fleet.roll(await first(fleet), KEY, scene.turn().version)
    assert ups(scene) == order


async def test_a_container_is_given_its_time_to_end() -> None:
    for roll in ("restart", "recreate"):
        scene = Scene(roll=roll, stop_timeout="120s")
        await scene.start(1)
        seen: list[float] = []

        async def stop(seconds: float, seen: list[float] = seen, program: Any = scene.programs[0]) -> None:
            seen.append(seconds)
            program.ends(0)

        scene.programs[0].stop = stop  # type: ignore[method-assign]
        fleet = await scene.ready()
        await fleet.roll(await first(fleet), KEY, scene.turn().version)
        assert seen == [120.0]


@pytest.mark.parametrize("surge", [True, False])
@pytest.mark.parametrize("fault", ["refuses", "stalls"])
async def test_a_successor_that_does_not_come_up_leaves_the_old_one_serving(fault: str, surge: bool) -> None:
    scene = Scene(roll="recreate", surge=surge)
    one = (await scene.start(1, HostConfig={"RestartPolicy": {"Name": "no"}}))[0]
    old = scene.current.version
    fleet = await scene.ready()
    member = await first(fleet)
    new = scene.turn()
    scene.play = lambda played: getattr(played, fault).add(new.material.reveal())
    with pytest.raises(RollFailedError, match="The old container serves") as caught:
        await fleet.roll(member, KEY, new.version)
    assert new.material.reveal() not in str(caught.value)
    assert scene.names() == ["llm-proxy-1"]
    assert scene.engine.named("llm-proxy-1").id == one.id
    await scene.until(fleet, member)
    assert await fleet.serving(member, KEY) == old


async def test_a_start_that_the_engine_refuses_leaves_the_old_one_serving() -> None:
    scene = Scene(roll="recreate")
    one = (await scene.start(1))[0]
    fleet = await scene.ready()
    scene.engine.refuses["POST /start"] = 500
    with pytest.raises(RollFailedError, match=r"engine answers 500.*The old container serves"):
        await fleet.roll(await first(fleet), KEY, scene.turn().version)
    assert [each.id for each in scene.engine.containers.values()] == [one.id]
    assert one.runs


async def test_a_container_of_somebody_else_in_the_way_is_told_and_left() -> None:
    scene = Scene(roll="recreate")
    await scene.start(1)
    scene.engine.create("llm-proxy-1-keyturn", {"Image": "other:1"})
    fleet = await scene.ready()
    with pytest.raises(RollFailedError, match="no other container named llm-proxy-1-keyturn"):
        await fleet.roll(await first(fleet), KEY, scene.turn().version)
    assert scene.names() == ["llm-proxy-1", "llm-proxy-1-keyturn"]


async def test_a_container_that_the_engine_would_remove_is_not_rolled() -> None:
    scene = Scene(roll="recreate")
    one = (await scene.start(1, HostConfig={"AutoRemove": True}))[0]
    fleet = await scene.ready()
    with pytest.raises(RollFailedError, match="removes llm-proxy-1 when it stops"):
        await fleet.roll(await first(fleet), KEY, scene.turn().version)
    assert one.runs
    assert scene.names() == ["llm-proxy-1"]


async def test_a_container_without_the_variable_is_not_guessed_at() -> None:
    scene = Scene(roll="recreate")
    await scene.start(1, Env=["OTHER=x"])
    with pytest.raises(RollFailedError, match="has no OPENAI_API_KEY in its environment"):
        await scene.fleet().roll(await first(scene.fleet()), KEY, scene.turn().version)


async def test_a_version_that_the_store_does_not_show_is_not_rolled_onto() -> None:
    scene = Scene(roll="recreate")
    await scene.start(1)
    with pytest.raises(UnavailableError, match="does not show the version"):
        await scene.fleet().roll(await first(scene.fleet()), KEY, VersionRef("v", "0" * 16))
    assert scene.names() == ["llm-proxy-1"]


async def test_a_program_that_reads_another_key_is_restarted_once_and_told() -> None:
    scene = Scene(roll="restart")
    await scene.start(1)
    fleet = await scene.ready()
    with pytest.raises(RollFailedError, match="it read another one"):
        await fleet.roll(await first(fleet), KEY, VersionRef("v", "0" * 16))
    assert scene.engine.starts == 2


# Leaks ------------------------------------------------------------------------------------------------------------------


@BOTH
async def test_the_key_is_in_its_environment_and_nowhere_else(roll: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    scene = Scene(roll=roll)
    await scene.start()
    fleet = await scene.ready()
    member = await first(fleet)
    new = scene.turn()
    await fleet.roll(member, KEY, new.version)
    findings = await fleet.preflight(KEY)
    told = scene.texts() + caplog.text + repr(findings) + repr(await fleet.members()) + repr(fleet)
    assert new.material.reveal() not in told
    assert repr(DoubleContainer.environment) not in told


async def test_a_create_that_is_refused_takes_no_key_into_its_error() -> None:
    for status in (400, 404, 500):
        scene = Scene(roll="recreate")
        await scene.start(1)
        fleet = await scene.ready()
        scene.engine.refuses["POST /create"] = status
        new = scene.turn()
        with pytest.raises((RollFailedError, MisconfiguredError)) as caught:
            await fleet.roll(await first(fleet), KEY, new.version)
        error: BaseException | None = caught.value
        while error is not None:
            assert new.material.reveal() not in repr(error)
            assert not hasattr(error, "request")
            error = error.__cause__ or error.__context__


# Docs -------------------------------------------------------------------------------------------------------------------


def test_the_compose_file_that_is_shown_fits_the_fleet_that_is_shown() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / "docker.md").read_text(), re.DOTALL | re.MULTILINE)
    compose, restarted, recreated = map(yaml.safe_load, blocks)
    for each in (restarted, recreated):
        assert each["proxies"]["prod"].pop("kind") == "docker"
    settings = DockerFleet.Settings.model_validate(restarted["proxies"]["prod"])
    assert DockerFleet.Settings.model_validate(recreated["proxies"]["prod"]).roll == "recreate"
    service = compose["services"][settings.service]
    words = service["entrypoint"]
    assert words[words.index("--state") + 1] == str(settings.state)
    assert words[words.index("--proxy") + 1] == "prod"
    assert service["command"][service["command"].index("--port") + 1] == str(settings.port)
    assert int(service["stop_grace_period"].removesuffix("s")) >= settings.stop_timeout.total_seconds()
    assert service["deploy"]["replicas"] > 1
    assert str(settings.state.parent if settings.state else "") in (ROOT / "deployments" / "litellm.Dockerfile").read_text()


# Looking ----------------------------------------------------------------------------------------------------------------


@BOTH
async def test_preflight_of_good_members_finds_nothing(roll: str) -> None:
    scene = Scene(roll=roll)
    await scene.start()
    fleet = await scene.ready()
    findings = await fleet.preflight(KEY)
    assert [each for each in findings if each.ok is not True] == []
    assert "API 1.41" in findings[0].detail


async def test_preflight_names_what_is_not_good() -> None:
    scene = Scene(roll="recreate")
    body = {"Env": ["AZURE_API_KEY=x"], "Healthcheck": None, "StopTimeout": None}
    await scene.start(1, **body, HostConfig={"AutoRemove": True, "RestartPolicy": {"Name": "no"}})
    fleet = scene.fleet(surge=False)
    (await first(fleet)).url  # noqa: B018
    found = {each.what.partition(": ")[2] or each.what: each for each in await fleet.preflight(KEY) if each.ok is not True}
    assert set(found) == {"--rm", "restart policy", "health check", "stop timeout", "proxy", "credential", "members"}
    assert all(each.remedy for each in found.values())
    assert [name for name, each in found.items() if each.ok is False] == ["--rm", "proxy", "credential"]


async def test_preflight_without_an_engine_or_without_members() -> None:
    nobody = await Scene(roll="recreate").fleet().preflight(KEY)
    assert [(each.what, each.ok) for each in nobody] == [("engine", True), ("members", False)]
    scene = Scene(roll="recreate")
    scene.engine.refuses["GET /version"] = 403
    assert [(each.what, each.ok) for each in await scene.fleet().preflight(KEY)] == [("engine", False)]
