"""What a sidecar or an operator needs, to render a proxy's keys as a file for `keyturn exec --env-file`.

Written from keyturn.yaml: it knows where each key is, and under which name LiteLLM reads it. No file has a key in it.
"""

from keyturn.delivery.agent.external_secrets import external_secrets
from keyturn.delivery.agent.injector import injector
from keyturn.delivery.agent.vault_agent import vault_agent
from keyturn.delivery.agent.vault_secrets import vault_secrets
from keyturn.delivery.agent.wanted import Choices, Plan

__all__ = ["Choices", "Plan", "external_secrets", "injector", "vault_agent", "vault_secrets"]
