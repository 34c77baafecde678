"""The rules of this house that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PRODUCT = ("keyturn", "flows", "tasks", "deployments")

# Who may take key text out of KeyMaterial. Each place hands it to a vendor, a store, a canary or the proxy it is meant
# for; a new one is a decision that a reviewer makes here.
MAY_REVEAL = {
    "keyturn/canary/calls.py",
    "keyturn/canary/requests_failed.py",
    "keyturn/commands/deliver.py",
    "keyturn/delivery/cache.py",
    "keyturn/delivery/control.py",
    "keyturn/delivery/environment.py",
    "keyturn/delivery/file_readers.py",
    "keyturn/delivery/key_files.py",
    "keyturn/delivery/keyring.py",
    "keyturn/delivery/keyring_litellm.py",
    "keyturn/delivery/keyring_probe.py",
    "keyturn/delivery/lean/aws.py",
    "keyturn/delivery/lean/vault.py",
    "keyturn/fleets/credential_calls.py",
    "keyturn/fleets/docker_copy.py",
    "keyturn/fleets/ecs_calls.py",
    "keyturn/fleets/ecs_permissions.py",
    "keyturn/fleets/process.py",
    "keyturn/incidents/digests.py",
    "keyturn/incidents/signatures.py",
    "keyturn/key_parts.py",
    "keyturn/kubernetes/client.py",
    "keyturn/leases/bedrock_token.py",
    "keyturn/providers/aws_access_key.py",
    "keyturn/providers/aws_iam.py",
    "keyturn/providers/bearer_check.py",
    "keyturn/providers/google_token.py",
    "keyturn/providers/logins.py",
    "keyturn/providers/openai.py",
    "keyturn/providers/pool_ledger.py",
    "keyturn/providers/perplexity.py",
    "keyturn/providers/signed_token.py",
    "keyturn/providers/token_login.py",
    "keyturn/stores/aws_client.py",
    "keyturn/stores/aws_creating.py",
    "keyturn/stores/aws_journal.py",
    "keyturn/stores/aws_memory.py",
    "keyturn/stores/aws_secrets_manager.py",
    "keyturn/stores/dotenv_documents.py",
    "keyturn/stores/kubernetes_documents.py",
    "keyturn/stores/memory.py",
    "keyturn/stores/two_documents.py",
    "keyturn/stores/vault_documents.py",
    "keyturn/vault/client.py",
    "keyturn/vault/iam.py",
    "keyturn/vault/login.py",
}


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def test_key_text_is_revealed_in_the_listed_places_alone() -> None:
    found = {name for name, text in sources(*PRODUCT) if ".reveal()" in text and "/testing/" not in name}
    assert found <= MAY_REVEAL, f"not listed: {sorted(found - MAY_REVEAL)}"


def test_the_list_of_places_has_no_dead_entry() -> None:
    found = {name for name, text in sources(*PRODUCT) if ".reveal()" in text}
    assert found >= MAY_REVEAL, f"listed, and reveals nothing: {sorted(MAY_REVEAL - found)}"


def test_no_file_bears_a_name_that_says_nothing() -> None:
    names = {Path(name).stem for name, _ in sources(*PRODUCT, "tests")}
    assert not names & {"utils", "util", "helpers", "helper", "base", "common", "misc"}


def test_the_product_has_no_assert_statement() -> None:
    for name, text in sources(*PRODUCT):
        if "/testing/" not in name:
            assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(text))), name


def test_every_module_and_every_public_class_says_what_it_is() -> None:
    for name, text in sources(*PRODUCT):
        tree = ast.parse(text)
        assert ast.get_docstring(tree) or not text.strip(), f"{name} has no docstring"
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and "/testing/" not in name:
                assert ast.get_docstring(node) or "cli.py" in name, f"{name}: {node.name} has no docstring"


def test_flows_name_no_vendor() -> None:
    vendors = re.compile(r"openai|anthropic|azure|bedrock|vault|aws|boto|hvac|kubernetes", re.IGNORECASE)
    for name, text in sources("flows"):
        assert not vendors.search(text), name


def test_files_are_small() -> None:
    for name, text in sources(*PRODUCT):
        assert len(text.splitlines()) <= 420, f"{name} wants to be two files"


def test_no_path_of_a_machine_and_nothing_that_looks_like_a_key() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    looks = re.compile(r"(?<![\w.-])/(work|root|home)/\w|sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|hvs\.[A-Za-z0-9]{20,}")
    for name in listed:
        path = ROOT / name
        if not path.is_file() or path.suffix in (".png", ".txt"):
            continue
        found = looks.search(path.read_text())
        assert found is None, f"{name}: {found.group()[:12]}..."


def test_adapters_of_the_registry_exist() -> None:
    from keyturn.registry import adapter_class, kinds

    for section in ("providers", "stores", "proxies", "leases"):
        for kind in kinds(section):
            adapter = adapter_class(section, kind)
            assert adapter.Settings.model_config["extra"] == "forbid", (section, kind)
            assert adapter.Settings.model_config["hide_input_in_errors"], (section, kind)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, keyturn.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"prefect", "boto3", "hvac", "httpx", "kubernetes", "pydantic", "starlette"} & set(loaded)


def test_the_wheel_holds_keyturn_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"keyturn"}
