"""The Vault Agent injector of Kubernetes: annotations for the pod's template.

Names after developer.hashicorp.com/vault/docs/platform/k8s/injector/annotations and the source of vault-k8s 1.7.6. They
were not applied to a cluster; the template is the one that a real agent renders.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.delivery.agent.quoting import documents, entrypoint
from keyturn.delivery.agent.vault_agent import policy, template
from keyturn.delivery.agent.wanted import Plan

_FILE = "keys.env"
_FOLDER = "/vault/secrets"  # the injector's own: a volume in memory
_PREFIX = "vault.hashicorp.com/"


def injector(plan: Plan) -> Mapping[str, str]:
    """`pod-annotations.yaml` and `entrypoint.sh`, by name. MisconfiguredError: the keys are in more than one Vault."""
    server, choices = plan.one_server(), plan.choices
    first = plan.wanted[0]
    folder = str(choices.rendered.parent) if choices.rendered else _FOLDER
    file = choices.rendered.name if choices.rendered else _FILE
    found = {
        "agent-inject": "true",
        "role": plan.role,
        "auth-path": f"auth/{choices.auth_mount or 'kubernetes'}",
        "service": server.address,
        # Names the file to the injector; what is rendered is said by the template.
        f"agent-inject-secret-{_FILE}": f"{first.setting.mount}/data/{first.path}",
        f"agent-inject-file-{_FILE}": file,
        f"agent-inject-template-{_FILE}": template(plan),
        f"agent-inject-perms-{_FILE}": "0600",
        f"error-on-missing-key-{_FILE}": "true",
        "secret-volume-path": folder,
        "template-static-secret-render-interval": choices.seconds,
        "agent-run-as-same-user": "true",
    }
    if server.namespace:
        found["namespace"] = server.namespace
    if server.ca_file:
        found["ca-cert"] = str(server.ca_file)
    if not server.verify:
        found["tls-skip-verify"] = "true"
    annotations = {f"{_PREFIX}{name}": value for name, value in found.items()}
    pod = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    about = (
        f"The keys of the proxies {plan.proxy} of keyturn.yaml: a patch for the Deployment. Its first container needs a\n"
        "securityContext.runAsUser: the agent runs as the same user, so that the file can be for that user alone.\n"
        f"The role needs this policy, and no more:\n{policy(plan)}"
    )
    return {
        "pod-annotations.yaml": documents(about, [pod]),
        "entrypoint.sh": entrypoint(plan.proxy, [f"{folder}/{file}"]),
    }
