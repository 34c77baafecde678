"""keyturn policy: the least permissions for this very configuration, in the form that the store takes."""

from __future__ import annotations

import json
import sys
from typing import Any

from keyturn import grants
from keyturn.commands.exits import Exit, leave, reported
from keyturn.commands.policy_asked import Asked
from keyturn.config import Config, load
from keyturn.errors import MisconfiguredError
from keyturn.grants import Grants

KINDS = {"aws": "aws_secrets_manager", "vault": "vault_kv2", "kubernetes": "kubernetes_secret"}


def policy(asked: Asked) -> None:
    """Print it; nothing is asked and nothing is changed anywhere."""
    with reported():
        asked.check()
        config = load()
        rolled = _rolled(config, asked)
        pods = (
            _pods(config, asked.subject) if (asked.what, asked.who, asked.store) == ("kubernetes", "rotator", None) else ""
        )
        has_store = asked.store is not None or KINDS[asked.what] in {part.kind for part in config.stores.values()}
        if (rolled or pods) and not has_store:
            text = _document([], rolled) if rolled else pods
        else:
            text = _of_store(config, asked, rolled) + (f"---\n{pods}" if pods else "")
    sys.stdout.write(text)
    leave(Exit.DONE)


def _of_store(config: Config, asked: Asked, rolled: list[Any]) -> str:
    name = _store(config, asked)
    granted = grants.rotator(config, name) if asked.who == "rotator" else grants.proxy(config, name, asked.proxy)
    if not granted.turned and not granted.read:
        raise MisconfiguredError(f"nothing of {name} is needed for that", remedy="look at secrets and proxies")
    written = _WRITERS[asked.what](config.stores[name].settings, granted, asked)
    return _document(json.loads(written)["Statement"], rolled) if rolled else written


def _rolled(config: Config, asked: Asked) -> list[Any]:
    """Statements for what keyturn rolls at AWS. Proxies of ECS need nothing for that themselves."""
    fleets: list[Any] = [part.settings for part in config.proxies.values() if part.kind == "ecs"]
    if not fleets or (asked.what, asked.who) != ("aws", "rotator"):
        return []
    from keyturn.fleets.ecs_policy import statements

    return statements(fleets, asked.account)


def _document(first: list[Any], then: list[Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [*first, *then]}, indent=2) + "\n"


def _store(config: Config, asked: Asked) -> str:
    """The one that was named; else the only one of the kind."""
    there = [name for name, part in config.stores.items() if part.kind == KINDS[asked.what]]
    chosen = [name for name in there if asked.store in (None, name)]
    if len(chosen) != 1:
        raise MisconfiguredError(
            f"which store of kind {KINDS[asked.what]}?",
            remedy=f"give --store with one of: {', '.join(there)}" if there else "there is none in keyturn.yaml",
        )
    return chosen[0]


def _aws(settings: Any, granted: Grants, asked: Asked) -> str:
    from keyturn.stores.aws_policy import policy as written

    kms_key = asked.kms_key or _arn(settings.kms_key_id)
    document = written(settings, granted.turned, granted.read, account=asked.account, kms_key=kms_key, creates=asked.creates)
    return json.dumps(document, indent=2) + "\n"


def _arn(key: str | None) -> str | None:
    """A key that is named by its id or an alias has no ARN to be told here: give --kms-key."""
    return key if key is not None and ":key/" in key else None


def _vault(settings: Any, granted: Grants, asked: Asked) -> str:
    from keyturn.stores.vault_policy import proxy_rules, rotator_rules, text

    turned = rotator_rules(settings.mount, settings.staging_prefix, granted.turned, creates=asked.creates)
    paths = {rule.path for rule in turned}
    read = [rule for rule in proxy_rules(settings.mount, granted.read) if rule.path not in paths]
    return text([*turned, *read])


def _kubernetes(settings: Any, granted: Grants, asked: Asked) -> str:
    import yaml

    from keyturn.stores.kubernetes_rules import Who, manifests, rules

    found = rules(granted.turned, namespace=settings.namespace, key=settings.key)
    read = rules(granted.read, Who.PROXY, namespace=settings.namespace, key=settings.key, watches=asked.watches)
    for namespace, more in read.items():
        found.setdefault(namespace, []).extend(more)
    made: str = yaml.safe_dump_all(manifests(found, asked.role, asked.subject), sort_keys=False)
    return made


def _pods(config: Config, subject: str) -> str:
    """What rolling each fleet of kind kubernetes needs: a Role of its own, for it may be in another cluster."""
    import yaml

    from keyturn.fleets.kubernetes_rules import rules
    from keyturn.kubernetes.rollout import Kind
    from keyturn.stores.kubernetes_rules import manifests

    texts = []
    for fleet in (part for part in config.proxies.values() if part.kind == "kubernetes"):
        settings: Any = fleet.settings
        known, unknown = grants.given_in_kubernetes(config, fleet.name)
        role = {settings.namespace: rules(known, settings.kinds or tuple(Kind))}
        text = yaml.safe_dump_all(manifests(role, f"keyturn-roll-{fleet.name}", subject), sort_keys=False)
        if unknown:
            text = (
                f"# {', '.join(unknown)}: add `get` on the Secrets that an operator fills for the pods of {fleet.name}, "
                "unless their programs read the store themselves.\n"
            ) + text
        texts.append(text)
    return "---\n".join(texts)


_WRITERS = {"aws": _aws, "vault": _vault, "kubernetes": _kubernetes}
