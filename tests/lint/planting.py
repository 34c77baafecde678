"""Files of each kind with one key at every kind of place: KEY is it, BASE64 the same in base64."""

from __future__ import annotations

import base64

FILES = {
    "plain.yaml": """\
KEY: KEY
? {KEY: 1}
: 2
list:
  - KEY=KEY
  - [KEY]
block: |
  KEY
url: https://KEY:KEY@example.com/KEY
x: 1  # KEY
""",
    "tagged.yaml": "a: &KEY !KEY KEY\nb: *KEY\n",
    "broken.yaml": "KEY: }KEY\n",
    "template.yaml": "{{ if KEY }}\na: KEY\n",
    "ignored.yaml": "a: 1  # keyturn: ignore KEY KEY\n",
    "variables.env": "KEY=KEY\nOPENAI_API_KEY=KEY\n# KEY\nexport X_KEY='KEY'\nGOOGLE_API_KEY=KEY\nGEMINI_API_KEY=x\n",
    "compose.yaml": """\
services:
  KEY:
    image: litellm/litellm:KEY
    command: [litellm, proxy, KEY]
    entrypoint: litellm-proxy KEY
    stop_grace_period: KEY
    env_file: KEY
    environment:
      KEY: KEY
      OPENAI_API_KEY: KEY
      DB_PASSWORD: ${X:-KEY}
      GOOGLE_API_KEY: KEY
      GEMINI_API_KEY: x
""",
    "litellm.yaml": """\
model_list:
  - model_name: KEY
    litellm_params: {model: openai/KEY, api_key: KEY, mock_response: KEY, litellm_credential_name: KEY}
    model_info: {id: KEY}
  - litellm_params: {model: KEY/x}
  - litellm_params: {model: openai/x, api_key: os.environ/KEY}
  - litellm_params: {model: openai/x, api_key: os.environ.KEY}
  - litellm_params: {model: openai/x, api_key: Bearer os.environ/KEY}
  - litellm_params: {model: openai/x, api_key: oidc/file/KEY}
general_settings: {master_key: KEY, key_management_system: KEY}
litellm_settings: {openai_key: KEY, KEY: KEY}
""",
    "cluster.yaml": """\
apiVersion: v1
kind: Secret
metadata: {name: KEY}
data: {KEY: BASE64, api_key: BASE64}
stringData: {api_key: KEY}
---
apiVersion: v1
kind: ConfigMap
data:
  KEY: KEY
  config.yaml: |
    model_list: [{litellm_params: {model: KEY, api_key: KEY}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: KEY}
spec:
  replicas: KEY
  strategy: {rollingUpdate: {maxUnavailable: KEY}}
  template:
    spec:
      terminationGracePeriodSeconds: KEY
      containers:
        - name: KEY
          image: litellm/litellm:KEY
          args: [--KEY, KEY]
          env: [{name: KEY, value: KEY}, {name: A_TOKEN, value: KEY}]
          lifecycle: {preStop: {exec: {command: [sleep, KEY]}}}
""",
    "values.yaml": "image: {repository: litellm, tag: KEY}\nmasterkey: KEY\nproxy_config: {router_settings: {K: KEY}}\n",
}


def planted_in(template: str, key: str) -> str:
    return (
        template.replace("BASE64", base64.b64encode(key.encode()).decode())
        .replace("X_KEY", f"X_{key}")
        .replace("API_KEY", "API\0")
        .replace("KEY", key)
        .replace("API\0", "API_KEY")
    )
