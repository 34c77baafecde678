"""What is known of OpenAI, and what the adapter asks of it, verb by verb, with the permission that takes: for people."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.providers.facts import Facts, Known, May, Permission, Shape, Source

_PROJECT = "/organization/projects/{project}"
_READ, _WRITE = "admin key: read project API keys", "admin key: write project API keys and service accounts"

FACTS = Facts(
    vendor="OpenAI",
    shape=Shape.CREATE_DELETE,
    variables=("OPENAI_API_KEY",),
    models="openai/",
    login="an organization's admin key that may read and write project API keys and service accounts",
    expiry="1 second to 365 days",
    last_use="to the second",
    keyless="workload identity federation: an OIDC token of your platform is exchanged for one that ends, and LiteLLM "
    "1.106.2 renews it by itself",
    steps="OpenAI",
    risks=(
        "how late OpenAI reports a use, accepts a new key and refuses a deleted one is published nowhere: settings",
        "the check may count as a use of the key",
    ),
    # The Admin API lists admin keys with the role of who owns them, and not what each of them may do.
    permissions=tuple(
        Permission(verb, (needs,), known=Known.RECALLED)
        for verb, needs in ((May.CREATE, _WRITE), (May.LIST, _READ), (May.DELETE, _WRITE))
    ),
    sources=(
        Source("PyPI openai 3.54.0, resources/admin/organization"),
        Source("OpenAI's OpenAPI description of 2026-08"),
        Source("OpenAI's guide to error codes", what="verdicts"),
        Source("usage_lag and propagation", Known.RECALLED, "settings"),
    ),
)
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
    "login_life": (
        "GET /organization/admin_api_keys, page by page",
        "admin key: read admin keys; without it, nothing is told",
    ),
}
