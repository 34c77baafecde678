"""deployments/kubernetes, by its form: kustomize makes it, the schemas of Kubernetes take it, and its parts fit one another,
the configuration beside them, and what other tests start as processes. No cluster was used."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from keyturn.cli import app
from keyturn.config import Config, load
from keyturn.testing import programs

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "deployments" / "kubernetes" / "overlays"
NAMES = sorted(path.name for path in OVERLAYS.iterdir())
VERSION = "1.37"
PAGE = ROOT / "docs" / "kubernetes-stack.md"

Object = dict[str, Any]


class Stack:
    """What `kubectl apply -k` would apply."""

    def __init__(self, name: str) -> None:
        self.folder = OVERLAYS / name
        program = [str(Path(sys.executable).with_name("kubectl")), "kustomize", str(self.folder)]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        self.objects: list[Object] = list(yaml.safe_load_all(done.stdout))
        self.config: Config = load(self.folder / "keyturn.yaml")

    def of(self, kind: str) -> dict[str, Object]:
        return {each["metadata"]["name"]: each for each in self.objects if each["kind"] == kind}

    def pods(self) -> dict[str, Object]:
        """The pod templates, by the workload's name."""
        return {
            name: each["spec"]["template"] for kind in ("Deployment", "StatefulSet") for name, each in self.of(kind).items()
        }

    def containers(self) -> Iterator[tuple[str, Object]]:
        for pod in self.pods().values():
            for each in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
                yield each["name"], each

    def selected(self, selector: Object) -> set[str]:
        """The workloads whose pods have these labels."""
        wanted = selector.get("matchLabels", {}).items()
        return {name for name, pod in self.pods().items() if pod["metadata"]["labels"].items() >= wanted}


@pytest.fixture(scope="module", params=NAMES)
def stack(request: pytest.FixtureRequest) -> Stack:
    return Stack(request.param)


# Forms ------------------------------------------------------------------------------------------------------------------


def test_the_schemas_take_every_object(stack: Stack) -> None:
    for each in stack.objects:
        kubernetes_validate.validate(each, VERSION, strict=True)


def test_the_schemas_would_say_so(stack: Stack) -> None:
    wrong = copy.deepcopy(stack.of("Deployment")["keyturn-worker"])
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_no_secret_is_in_it_and_those_that_it_wants_are_told_of(stack: Stack) -> None:
    assert stack.of("Secret") == {}
    wanted = set()
    for _, container in stack.containers():
        for each in container.get("env", []):
            assert each["name"].startswith("PREFECT_WORKER_WEBSERVER_")
        wanted |= {each["secretRef"]["name"] for each in container["envFrom"] if "secretRef" in each}
    for pod in stack.pods().values():
        wanted |= {each["secret"]["secretName"] for each in pod["spec"]["volumes"] if "secret" in each}
    assert wanted == {"keyturn", "keyturn-incidents", "keyturn-incidents-tls"}
    page = PAGE.read_text()
    assert {name for name in wanted if f" {name} " not in page} == set(), "the page says how each is made"


def test_the_page_names_every_variable_that_the_configuration_wants(stack: Stack) -> None:
    page = PAGE.read_text()
    variables = set(re.findall(r"env:([A-Z_]+)", (stack.folder / "keyturn.yaml").read_text()))
    assert variables == {"OPENAI_ADMIN_KEY", "LITELLM_MASTER_KEY", "INCIDENT_TOKEN"}
    assert {name for name in variables if name not in page} == set()


# Pods -------------------------------------------------------------------------------------------------------------------


def test_every_pod_is_held_short(stack: Stack) -> None:
    assert stack.of("Namespace")["keyturn"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in stack.pods().items():
        held = pod["spec"]["securityContext"]
        assert held["runAsNonRoot"] and held["runAsUser"] == held["runAsGroup"] == 10001, name
        assert held["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not pod["spec"].keys() & {"hostNetwork", "hostPID", "hostIPC"}, name
        assert all("hostPath" not in volume for volume in pod["spec"]["volumes"]), name
    for name, container in stack.containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        for part in ("requests", "limits"):
            assert container["resources"][part].keys() == {"cpu", "memory", "ephemeral-storage"}, name


def test_what_the_image_writes_to_is_a_volume(stack: Stack) -> None:
    recipe = (ROOT / "deployments" / "Dockerfile").read_text()
    assert "PREFECT_HOME=/var/lib/keyturn/prefect" in recipe
    for name, container in stack.containers():
        writable = {each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")}
        assert writable == {"/var/lib/keyturn", "/tmp"}, name


def test_every_container_that_stays_is_asked_how_it_is(stack: Stack) -> None:
    for name, pod in stack.pods().items():
        for container in pod["spec"]["containers"]:
            assert container.keys() >= {"startupProbe", "readinessProbe", "livenessProbe"}, name
            ports = {each["name"] for each in container["ports"]}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                (how,) = (container[probe][key] for key in ("httpGet", "tcpSocket") if key in container[probe])
                assert how["port"] in ports, name


def test_each_command_is_one_that_the_tests_start(stack: Stack) -> None:
    assert {name: container["command"] for name, container in stack.containers()} == {
        "deploy": [*programs.DEPLOY, "keyturn"],
        "worker": list(programs.pool_worker("keyturn")),
        "incidents": list(programs.INCIDENTS),
    }


def test_one_of_each_stays_when_a_node_is_drained(stack: Stack) -> None:
    budgets = stack.of("PodDisruptionBudget")
    covered = set()
    for budget in budgets.values():
        (name,) = stack.selected(budget["spec"]["selector"])
        covered.add(name)
        (workload,) = (
            each for each in stack.objects if each["metadata"]["name"] == name and "replicas" in each.get("spec", {})
        )
        assert 0 < budget["spec"]["minAvailable"] < workload["spec"]["replicas"]
    assert covered == stack.pods().keys()


# What they may do -------------------------------------------------------------------------------------------------------


def test_the_rights_are_what_keyturn_policy_prints(stack: Stack) -> None:
    words = ["--config", str(stack.folder / "keyturn.yaml"), "policy", "kubernetes", "--service-account", "keyturn/keyturn"]
    printed = CliRunner().invoke(app, words)
    assert printed.exit_code == 0, printed.output
    wanted = list(yaml.safe_load_all(printed.stdout))
    shipped = list(yaml.safe_load_all((stack.folder / "rbac.yaml").read_text()))
    assert shipped == wanted
    applied = [each for each in stack.objects if each["apiVersion"].startswith("rbac.")]
    assert sorted(applied, key=str) == sorted(wanted, key=str), "kustomize leaves them as they are"
    (account,) = stack.of("ServiceAccount").values()
    for pod in stack.pods().values():
        assert pod["spec"]["serviceAccountName"] == account["metadata"]["name"] == "keyturn"
    for binding in stack.of("RoleBinding").values():
        (subject,) = binding["subjects"]
        assert (subject["namespace"], subject["name"]) == (account["metadata"]["namespace"], "keyturn")


def test_nothing_is_let_in_or_out_that_no_rule_names(stack: Stack) -> None:
    policies = stack.of("NetworkPolicy")
    nothing = policies.pop("nothing")["spec"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    let_in = {
        name: stack.selected(each["spec"]["podSelector"]) for name, each in policies.items() if "ingress" in each["spec"]
    }
    assert let_in == {"keyturn-incidents": {"keyturn-incidents"}}
    assert all(
        stack.selected(each["spec"]["podSelector"]) == stack.pods().keys()
        for each in policies.values()
        if "egress" in each["spec"]
    )
    for rule in (rule for each in policies.values() for rule in each["spec"].get("egress", [])):
        assert rule["to"] and rule["ports"], "no rule without an end"


def reached(stack: Stack) -> dict[str, set[int]]:
    """Ports by the namespace that they may be reached in; "" for the world."""
    found: dict[str, set[int]] = {}
    for policy in stack.of("NetworkPolicy").values():
        for rule in policy["spec"].get("egress", []):
            for to in rule["to"]:
                space = to.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name", "")
                found.setdefault(space, set()).update(each["port"] for each in rule["ports"])
    return found


def test_what_the_configuration_names_is_reached(stack: Stack) -> None:
    ports = reached(stack)
    for fleet in stack.config.proxies.values():
        settings: Any = fleet.settings
        assert settings.port in ports[settings.namespace]
        key, _, value = settings.selector.partition("=")
        rules = [
            to for each in stack.of("NetworkPolicy").values() for rule in each["spec"].get("egress", []) for to in rule["to"]
        ]
        assert {"matchLabels": {key: value}} in [to.get("podSelector") for to in rules]
    for store in stack.config.stores.values():
        if store.kind == "vault_kv2":
            host, _, port = store.settings.address.removeprefix("https://").partition(":")  # type: ignore[attr-defined]
            assert int(port) in ports[host.split(".")[1]]
    assert ports[""] == {443, 6443}


def test_the_incident_service_is_reached_where_it_listens(stack: Stack) -> None:
    incidents = stack.config.incidents
    assert incidents is not None and incidents.tls is not None and incidents.host == "0.0.0.0"
    pod = stack.pods()["keyturn-incidents"]["spec"]
    (container,) = pod["containers"]
    assert container["ports"] == [{"name": "https", "containerPort": incidents.port}]
    assert stack.of("NetworkPolicy")["keyturn-incidents"]["spec"]["ingress"][0]["ports"][0]["port"] == incidents.port
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert {incidents.tls.certificate, incidents.tls.key} == {Path(mounts["tls"], name) for name in ("tls.crt", "tls.key")}
    for service in stack.of("Service").values():
        assert stack.selected({"matchLabels": service["spec"]["selector"]}) == {"keyturn-incidents"}
        assert {each["targetPort"] for each in service["spec"]["ports"]} == {"https"}
    assert stack.of("StatefulSet")["keyturn-incidents"]["spec"]["serviceName"] in stack.of("Service")


def test_the_pods_are_given_the_configuration_and_replaced_when_it_changes(stack: Stack) -> None:
    maps = stack.of("ConfigMap")
    for pod in stack.pods().values():
        (named,) = (each["configMap"]["name"] for each in pod["spec"]["volumes"] if "configMap" in each)
        assert maps[named]["data"] == {"keyturn.yaml": (stack.folder / "keyturn.yaml").read_text()}
        assert named != "keyturn", "its name has the hash of what it holds"
    for _, container in stack.containers():
        (environment,) = (each["configMapRef"]["name"] for each in container["envFrom"] if "configMapRef" in each)
        assert maps[environment]["data"]["PREFECT_API_URL"].startswith("https://")
