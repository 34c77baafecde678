"""The least that Vault has to allow, as the text of a policy: to whoever rotates, and to a proxy that reads its keys.

tests/policies/test_vault_policy.py plays a credential's whole life under it, and sees it break without any one capability.
What the built-in policy `default` gives is not in it: sys/capabilities-self, for preflight to look, and
auth/token/renew-self.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keyturn.model import SecretRef
from keyturn.vault.permissions import stanza

WHOLE_NAME = "_value"  # in the place of a field

MAIN = ("read", "update")
# No `create`: to KV v2 a document is there once its metadata is (seen on OpenBao 2.7.2), and that is made first.
BESIDE = ("read", "update")
NOTES = ("create", "read", "update", "patch")


@dataclass(frozen=True, slots=True)
class Rule:
    """One stanza. `what`: in words, what stands at the path."""

    path: str
    capabilities: tuple[str, ...]
    what: str


def rotator_rules(mount: str, staging_prefix: str, secrets: Sequence[SecretRef], *, creates: bool = False) -> list[Rule]:
    """For these secrets, each path once. `creates`: for `keyturn put`, which makes what is missing."""
    rules = [_served(mount, path, creates) for path in _paths(secrets)]
    for secret in dict.fromkeys(secrets):
        rules += _beside(mount, f"{staging_prefix}/{secret.path}/{secret.field or WHOLE_NAME}")
    return rules


def proxy_rules(mount: str, secrets: Sequence[SecretRef]) -> list[Rule]:
    """For who only reads what is served. Vault knows no permission for one field: a bundle is read whole."""
    return [Rule(f"{mount}/data/{path}", ("read",), "served") for path in _paths(secrets)]


def policy(path: str, mount: str = "secret", staging_prefix: str = "keyturn", *, creates: bool = False) -> str:
    """For whatever is kept at a path, as deployments/vault-policy.hcl has it. `+` stands for one segment."""
    return text([_served(mount, path, creates), *_beside(mount, f"{staging_prefix}/{path}/*")])


def text(rules: Iterable[Rule]) -> str:
    """HCL, for `vault policy write NAME -`."""
    return "".join(f"# {rule.what}\n{stanza(rule.path, rule.capabilities)}\n" for rule in rules)


def _served(mount: str, path: str, creates: bool) -> Rule:
    return Rule(f"{mount}/data/{path}", ("create", *MAIN) if creates else MAIN, "served")


def _beside(mount: str, path: str) -> list[Rule]:
    return [Rule(f"{mount}/data/{path}", BESIDE, "not served"), Rule(f"{mount}/metadata/{path}", NOTES, "notes")]


def _paths(secrets: Iterable[SecretRef]) -> list[str]:
    return list(dict.fromkeys(secret.path for secret in secrets))
