"""What the adapter asks of OpenAI, verb by verb, and the permission of the admin key that it takes: for people."""

from __future__ import annotations

from collections.abc import Mapping

_PROJECT = "/organization/projects/{project}"
_READ, _WRITE = "admin key: read project API keys", "admin key: write project API keys and service accounts"

CALLS: Mapping[str, tuple[str, str]] = {
    "list": (f"GET {_PROJECT}/api_keys", _READ),
    "create": (
        f"POST {_PROJECT}/service_accounts/{{account}}/api_keys; without service_account POST {_PROJECT}/service_accounts",
        _WRITE,
    ),
    "check": ("GET /models, with the key under test, and once with a garbage key", "none"),
    "last_used": (f"GET {_PROJECT}/api_keys/{{key}}", _READ),
    "revoke": (
        f"DELETE {_PROJECT}/api_keys/{{key}}; without service_account then also GET {_PROJECT}/api_keys, "
        f"GET and DELETE {_PROJECT}/service_accounts/{{account}}",
        _WRITE,
    ),
}
