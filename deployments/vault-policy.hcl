# What keyturn may do in Vault or OpenBao: the least it needs, and nothing beside it.
#
#   vault policy write keyturn vault-policy.hcl
#
# `keyturn policy vault` prints it filled in for your keyturn.yaml, narrower still, and preflight says which line is missing.
# Replace, here, for each secret that keyturn turns:
#
#   secret             the mount of the KV v2 engine            `mount` in keyturn.yaml
#   litellm/providers  the path of the secret                   `path` of the credential
#   keyturn            where the unserved versions are kept     `staging_prefix` in keyturn.yaml
#
# In a path, `+` stands for one segment, and `*` at its end for anything. `create` on the first path is left out with
# intent: keyturn changes secrets that exist, and so a mistyped path is refused instead of becoming a secret.
# The built-in policy `default`, which every token has unless told otherwise, adds what preflight asks
# (sys/capabilities-self). Proxies need `read` on the first path alone.

# What the proxies read: keyturn changes its own field, with check-and-set.
path "secret/data/litellm/providers" { capabilities = ["read", "update"] }

# What is not served: one document per value.
path "secret/data/keyturn/litellm/providers/*" { capabilities = ["read", "update"] }

# The notes beside it. By "patch" Vault merges them: two workers that write at the same moment lose none.
path "secret/metadata/keyturn/litellm/providers/*" { capabilities = ["create", "read", "update", "patch"] }
