"""The kinds that the lean reader knows, with their settings. Any other, and any other setting, is the full path's.

tests/delivery/lean/ holds each against the adapter's own model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from keyturn.delivery.lean.declined import Declined
from keyturn.delivery.lean.plain import (
    MOUNT,
    Settings,
    address,
    duration,
    fit,
    items,
    number,
    reference,
    split_address,
    text,
)

_ID = text(r"[A-Za-z0-9_-]{1,200}")
_ABSOLUTE = text(r"/[A-Za-z0-9_./+@-]{1,400}")
_FILE = text(r"[A-Za-z0-9_./+@-]{1,400}")
_ROLE = text(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,100}")
_TIMEOUT = duration(least=1)
_REGION = text(r"(us|eu|ap|sa|ca|me|af|il|mx)-[a-z]{2,20}-[0-9]")  # of the partition `aws`, as botocore tells it


def _openai(settings: Any) -> Settings:
    return fit(
        settings,
        {"admin_key": reference, "project": _ID},
        {
            "service_account": _ID,
            "base_url": address,
            "usage_lag": duration(),
            "propagation": duration(),
            "timeout": _TIMEOUT,
        },
    )


def _access_keys(settings: Any) -> Settings:
    """Of an IAM user. A start makes none of its calls; the settings have to be right all the same."""
    found = fit(
        settings,
        {"region": _REGION, "user_name": text(r"[A-Za-z0-9_+=,.@-]{1,128}")},
        {
            "endpoint_url": address,
            "sts_endpoint_url": address,
            "access_key_id": reference,
            "secret_access_key": reference,
            "session_token": reference,
            "usage_lag": duration(),
            "propagation": duration(),
            "timeout": _TIMEOUT,
        },
    )
    _login_fits(found)
    return found


def _login_fits(settings: Settings) -> None:
    given = {name for name in ("access_key_id", "secret_access_key", "session_token") if name in settings}
    if given and not {"access_key_id", "secret_access_key"} <= given:
        raise Declined


def _vault(settings: Any) -> Settings:
    auth = settings.get("auth")
    logins: Mapping[str, Callable[[], Settings]] = {
        "token": lambda: fit(auth, {"method": text(), "token": reference}, {}),
        "approle": lambda: fit(
            auth, {"method": text(), "role_id": reference, "secret_id": reference}, {"mount": text(MOUNT)}
        ),
        "kubernetes": lambda: fit(auth, {"method": text(), "role": _ROLE}, {"token_file": _FILE, "mount": text(MOUNT)}),
        "jwt": lambda: fit(auth, {"method": text(), "role": _ROLE, "token": reference}, {"mount": text(MOUNT)}),
    }
    method = auth.get("method") if isinstance(auth, dict) else None
    if not isinstance(method, str) or method not in logins:
        raise Declined
    logins[method]()
    return fit(
        settings,
        {"address": address, "auth": lambda value: True},
        {
            "namespace": text(rf"{MOUNT}/?"),
            "ca_file": _FILE,
            "verify": lambda value: value is True,
            "timeout": _TIMEOUT,
            "mount": text(MOUNT),
            "staging_prefix": text(MOUNT),
        },
    )


def _aws(settings: Any) -> Settings:
    """Neither profile nor role: those are the SDK's business."""
    found = fit(
        settings,
        {"region": _REGION},
        {
            "endpoint_url": address,
            "access_key_id": reference,
            "secret_access_key": reference,
            "session_token": reference,
            "replicas": lambda value: isinstance(value, list) and all(map(text(r"[a-z]{2}-[a-z]{2,20}-[0-9]"), value)),
            "replica_timeout": duration(),
            "timeout": _TIMEOUT,
        },
    )
    _login_fits(found)
    if found["region"] in found.get("replicas", []):
        raise Declined
    return found


def _dotenv(settings: Any) -> Settings:
    return fit(settings, {"folder": _ABSOLUTE}, {"lock_timeout": duration()})


def _kubernetes(settings: Any) -> Settings:
    """Of a pod's own service account, or of a kubeconfig."""
    found = fit(
        settings,
        {"namespace": text(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")},
        {"key": text(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,100}"), "kubeconfig": _FILE, "context": text(), "timeout": _TIMEOUT},
    )
    if "context" in found and "kubeconfig" not in found:
        raise Declined
    return found


def _command(settings: Any) -> Settings:
    found = fit(
        settings,
        {"members": lambda value: bool(items(value)), "master_key": reference},
        {"roll_timeout": duration(), "poll_interval": duration()},
    )
    for member in found["members"]:
        fit(member, {"url": address, "restart": lambda value: all(map(text(), items(value))), "state": _ABSOLUTE}, {})
        if not member["restart"]:
            raise Declined
    for each in ("url", "state", "restart"):
        if len({str(member[each]).rstrip("/") for member in found["members"]}) < len(found["members"]):
            raise Declined
    return found


def _process(settings: Any) -> Settings:
    found = fit(
        settings,
        {"members": lambda value: bool(items(value)), "master_key": reference},
        {
            "control_token": reference,
            "control_port_offset": number(1, 60000),
            "roll_timeout": duration(),
            "poll_interval": duration(),
        },
    )
    offset, urls = found.get("control_port_offset", 100), set()
    for member in found["members"]:
        if isinstance(member, dict):
            fit(member, {"url": address, "control": text(r"unix:/[A-Za-z0-9_./-]{1,100}")}, {})
            urls.add(member["url"].rstrip("/"))
            continue
        if not address(member):
            raise Declined
        port = split_address(member)[2]
        if not port or port + offset > 65535:
            raise Declined
        urls.add(member.rstrip("/"))
    if len(urls) < len(found["members"]):
        raise Declined
    return found


KINDS: Mapping[str, Mapping[str, Callable[[Any], Settings]]] = {
    "providers": {"openai": _openai, "aws_access_key": _access_keys},
    "stores": {"vault_kv2": _vault, "aws_secrets_manager": _aws, "dotenv": _dotenv, "kubernetes_secret": _kubernetes},
    "proxies": {"process": _process, "command": _command},
}


def known(section: str, settings: Any) -> tuple[str, Settings]:
    """The kind, and its settings without it. Declined for another kind, and for settings that are not plain."""
    kind = settings.get("kind") if isinstance(settings, dict) else None
    if not isinstance(kind, str) or kind not in KINDS[section]:
        raise Declined
    return kind, KINDS[section][kind]({name: value for name, value in settings.items() if name != "kind"})
