"""A keyturn.yaml for what an agent's files are written from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def configuration(
    secrets: Mapping[str, Mapping[str, str] | list[Mapping[str, str]]], env: Mapping[str, str], **store: Any
) -> str:
    """One credential for each secret (or list of secrets); `store` goes into the Vault store's settings."""
    login = {"method": "approle", "role_id": "env:ROLE_ID", "secret_id": "env:SECRET_ID"}
    return json.dumps(
        {
            "providers": {"org": {"kind": "openai", "admin_key": "env:ADMIN_KEY", "project": "proj_x"}},
            "stores": {
                "vault": {"kind": "vault_kv2", "address": "https://vault.test:8200", "auth": login, **store},
                "other": {"kind": "vault_kv2", "address": "https://other.test:8200", "auth": login},
                "aws": {"kind": "aws_secrets_manager", "region": "eu-west-1"},
            },
            "proxies": {
                "local": {"kind": "process", "members": ["http://127.0.0.1:4001"], "master_key": "env:LITELLM_MASTER_KEY"}
            },
            "credentials": {
                name: {
                    "provider": "org",
                    "secrets": each if isinstance(each, list) else [each],
                    "canary": {"proxy": "local", "model": "m"},
                    "proxies": ["local"],
                    **({"env": env[name]} if name in env else {}),
                }
                for name, each in secrets.items()
            },
        }
    )
