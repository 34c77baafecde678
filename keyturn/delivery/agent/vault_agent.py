"""Vault Agent, and OpenBao's: a configuration with its template.

Names after "Vault Agent" (vault, auto_auth), "Use Vault Agent templates" and "Auto-auth: AppRole" and "Kubernetes" of
developer.hashicorp.com/vault/docs, as of Vault 1.21; run with the agent of OpenBao 2.7.2.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.delivery.agent.quoting import consul_line, entrypoint, go, hcl
from keyturn.delivery.agent.wanted import Plan
from keyturn.errors import MisconfiguredError

_RENDERED = "/run/keyturn/keys.env"
_END = "KEYTURN"


def vault_agent(plan: Plan) -> Mapping[str, str]:
    """`agent.hcl` and `entrypoint.sh`, by name. MisconfiguredError: the keys are in more than one Vault."""
    rendered = str(plan.choices.rendered or _RENDERED)
    return {"agent.hcl": _agent(plan, rendered), "entrypoint.sh": entrypoint(plan.proxy, [rendered])}


def template(plan: Plan) -> str:
    """The variables, one a line, in single quotes. A secret that cannot be read leaves the file as it was."""
    found = []
    for (_, path), wanted in plan.by_path().items():
        lines = "".join(consul_line(each.variable, each.field or "") for each in wanted)
        found.append(f"{{{{ with secret {go(f'{wanted[0].setting.mount}/data/{path}')} -}}}}\n{lines}{{{{ end -}}}}\n")
    return "".join(found)


def policy(plan: Plan) -> str:
    """What the agent's role has to be allowed, as lines of a policy."""
    paths = dict.fromkeys(f"{wanted[0].setting.mount}/data/{path}" for (_, path), wanted in plan.by_path().items())
    return "".join(f'path "{each}" {{ capabilities = ["read"] }}\n' for each in paths)


def _agent(plan: Plan, rendered: str) -> str:
    server, choices = plan.one_server(), plan.choices
    if f"\n{_END}\n" in template(plan):
        raise MisconfiguredError("a variable is named like the end of the template", remedy="give it another `env`")
    about = "".join(f"#   {line}\n" for line in policy(plan).splitlines())
    reached = [f"address = {hcl(server.address)}"]
    if server.namespace:
        reached.append(f"namespace = {hcl(server.namespace)}")
    if server.ca_file:
        reached.append(f"ca_cert = {hcl(str(server.ca_file))}")
    if not server.verify:
        reached.append("tls_skip_verify = true")
    return f"""# The keys of the proxies {plan.proxy} of keyturn.yaml, rendered for `keyturn exec --env-file {rendered}`.
# The role needs this policy, and no more:
{about}
vault {{
{_indented(reached)}}}

auto_auth {{
{_login(plan)}}}

template_config {{
  # The default is 5m. A roll waits for it: keep it well below `keyturn exec --render-timeout`.
  static_secret_render_interval = {hcl(choices.seconds)}
}}

template {{
  destination = {hcl(rendered)}
  perms = "0600"
  error_on_missing_key = true
  contents = <<{_END}
{template(plan)}{_END}
}}
"""


def _login(plan: Plan) -> str:
    choices, server = plan.choices, plan.one_server()
    method = "approle" if choices.role is None else "kubernetes"
    lines = [f"mount_path = {hcl(f'auth/{choices.auth_mount or method}')}"]
    if server.namespace:
        lines.append(f"namespace = {hcl(server.namespace)}")
    lines.append("config = {")
    if choices.role is None:
        lines += [
            f"  role_id_file_path = {hcl(str(choices.logins / 'role-id'))}",
            f"  secret_id_file_path = {hcl(str(choices.logins / 'secret-id'))}",
            "  # Else an agent that is started again has nothing to log in with.",
            "  remove_secret_id_file_after_reading = false",
        ]
    else:
        lines.append(f"  role = {hcl(choices.role)}")
    return f"  method {hcl(method)} {{\n{_indented([*lines, '}'], 4)}  }}\n"


def _indented(lines: list[str], by: int = 2) -> str:
    return "".join(f"{' ' * by}{line}\n" for line in lines)
