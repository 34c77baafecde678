"""A bad and a good example of each rule. `@@` begins the line that is to be told; keys are made up when a test runs.

`<openai>` and the like stand for keys of tests/hostile.py, `<hex>` for 32 hex digits as Azure has them, `<word>` for a
password, `<b64>` for a key in base64.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass

from tests.hostile import PLANTED

MADE_UP = {
    **PLANTED,
    "hex": secrets.token_hex(15) + "a7",
    "word": "pw" + secrets.token_hex(7) + "9x",
    "b64": base64.b64encode(PLANTED["openai_project"].encode()).decode(),
}


@dataclass(frozen=True)
class Example:
    rule: str
    name: str  # of the file
    bad: str
    good: str

    @property
    def line(self) -> int:
        return next(number for number, line in enumerate(self.bad.split("\n"), 1) if line.startswith("@@"))

    @property
    def wrong(self) -> str:
        return filled(self.bad)

    @property
    def right(self) -> str:
        return filled(self.good)


def filled(text: str) -> str:
    """With keys in place of their names, and without the mark."""
    return re.sub(r"<(\w+)>", lambda found: MADE_UP[found[1]], text.replace("@@", ""))


def litellm(params: str = "", rest: str = "", params_here: bool = False) -> str:
    """A configuration in which nothing is wrong but what is put in."""
    mark = "@@" if params_here else ""
    return (
        "model_list:\n"
        "  - model_name: m\n"
        f"{mark}    litellm_params: {{model: openai/gpt-4o{params}}}\n"
        "    model_info: {id: m}\n"
        + (rest or "general_settings: {master_key: os.environ/LITELLM_MASTER_KEY, disable_model_info_refresh: true}\n")
    )


KEYED = ", api_key: os.environ/OPENAI_API_KEY"
GENERAL = "general_settings:\n  master_key: os.environ/LITELLM_MASTER_KEY\n  disable_model_info_refresh: true\n"


def service(
    lines: str, image: str = "ghcr.io/berriai/litellm:v1.106.2-stable", stop: str = "    stop_grace_period: 90s\n"
) -> str:
    return f"services:\n  proxy:\n    image: {image}\n{stop}{lines}"


def deployment(
    spec: str = "  replicas: 3\n  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}\n",
    pod: str = "      terminationGracePeriodSeconds: 90\n",
    readiness: str = "          readinessProbe: {httpGet: {path: /health/readiness, port: 4000}}\n",
    stop: str = "          lifecycle: {preStop: {sleep: {seconds: 10}}}\n",
    more: str = "",
    image: str = "ghcr.io/berriai/litellm:v1.106.2-stable",
) -> str:
    return (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: proxy}\nspec:\n"
        f"{spec}  template:\n    spec:\n{pod}      containers:\n"
        f"        - name: proxy\n          image: {image}\n{readiness}{stop}{more}"
    )


EXAMPLES = [
    Example("KT001", "x.yaml", "a: 1\n@@b: }\n", "a: 1\n"),
    Example("KT002", "x.yaml", "a: 1\n@@{{- if .Values.x }}\nb: 2\n{{- end }}\n", 'a: "{{ x }}"\n'),
    Example("KT002", "x.yaml", "@@a: !vault 1\n", "a: 1\n"),
    Example("KT003", "x.yaml", "@@a: 1  # keyturn: ignore KT101\n", "a: 1  # keyturn: ignore KT101 made up for a test\n"),
    Example("KT003", "x.yaml", "@@# keyturn: ignore KT999 this is no rule\n", "# keyturn lint ignores nothing here\n"),
    *(Example("KT101", "x.yaml", f"a: 1\n@@b: <{name}>\n", "b: env\n") for name in PLANTED),
    *(Example("KT101", "x.yaml", f"a: 1\n@@# b: <{name}>\n", "# b: key\n") for name in PLANTED),
    *(Example("KT101", "x.yaml", f"a: |\n  text\n@@  and <{name}> in it\n", "a: |\n  text\n") for name in PLANTED),
    Example("KT101", "x.yaml", "@@url: postgres://litellm:<word>@db/x\n", "url: postgres://litellm:${PASSWORD}@db/x\n"),
    Example("KT101", "x.env", "A=1\n@@OPENAI_API_KEY=<openai>\n", "OPENAI_API_KEY=\n"),
    Example("KT101", "x.yaml", "@@a: <openai>\n", "a: sk-your-key-goes-here\nb: AKIA" + "IOSFODNN7EXAMPLE\n"),
    Example("KT102", "x.yaml", "@@AZURE_API_KEY: <hex>\n", "AZURE_API_KEY: ${AZURE_API_KEY}\nCOMMIT: <hex>\n"),
    Example("KT102", "x.yaml", "@@# AZURE_API_KEY=<hex>\n", "# AZURE_API_KEY=\n"),
    Example("KT102", "x.yaml", litellm(", api_key: <word>", params_here=True), litellm(KEYED)),
    Example(
        "KT102",
        "compose.yaml",
        service("    environment:\n@@      DB_PASSWORD: <word>\n"),
        service("    environment: {DB_PASSWORD: $X}\n"),
    ),
    Example(
        "KT102",
        "compose.yaml",
        service("    environment:\n@@      - DB_PASSWORD=<word>\n"),
        service("    environment: [DB_PASSWORD]\n"),
    ),
    Example(
        "KT102",
        "compose.yaml",
        service("    environment:\n@@      T_TOKEN: ${T:-<word>}\n"),
        service("    environment: {T_TOKEN: '${T:?x}'}\n"),
    ),
    Example(
        "KT102",
        "compose.yaml",
        "x-env:\n@@  APP_PASSWORD: <word>\nservices: {}\n",
        "x-env: {APP_PASSWORD: /run/secrets/x}\nservices: {}\n",
    ),
    Example(
        "KT102",
        "pod.yaml",
        deployment(more="          env:\n            - name: X_TOKEN\n@@              value: <word>\n"),
        deployment(
            more="          env:\n            - {name: X_TOKEN, valueFrom: {secretKeyRef: {name: x, key: X_TOKEN}}}\n"
        ),
    ),
    Example(
        "KT102",
        "map.yaml",
        "apiVersion: v1\nkind: ConfigMap\ndata:\n@@  DB_PASSWORD: <word>\n",
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  DB_HOST: <word>\n",
    ),
    Example(
        "KT102",
        "x.yaml",
        litellm(", aws_secret_access_key: <word>", params_here=True),
        litellm(f"{KEYED}, input_cost_per_token: 0.00000015, api_key_name: <word>"),
    ),
    Example("KT103", "x.yaml", litellm(KEYED, "general_settings:\n@@  master_key: sk-1234\n"), litellm(KEYED)),
    Example("KT103", "x.env", "@@LITELLM_MASTER_KEY=sk-1234\n", "LITELLM_MASTER_KEY=\n"),
    Example(
        "KT103",
        "compose.yaml",
        service("    environment:\n@@      - LITELLM_MASTER_KEY=${K:-sk-1234}\n"),
        service("    environment: [K]\n"),
    ),
    Example(
        "KT106",
        "secret.yaml",
        "apiVersion: v1\nkind: Secret\ndata:\n@@  anything: <b64>\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {}\n",
    ),
    Example(
        "KT106",
        "secret.yaml",
        "apiVersion: v1\nkind: List\nitems:\n"
        "  - apiVersion: v1\n    kind: Secret\n    stringData:\n@@      AZURE_API_KEY: <hex>\n",
        "apiVersion: v1\nkind: Secret\nsops: {mac: x}\nstringData: {AZURE_API_KEY: 'ENC[AES256_GCM,data:abc,type:str]'}\n",
    ),
    Example("KT201", "x.yaml", litellm(", api_key: '${OPENAI_API_KEY}'", params_here=True), litellm(KEYED)),
    Example("KT201", "x.yaml", litellm(", api_key: $OPENAI_API_KEY", params_here=True), litellm(KEYED)),
    Example("KT201", "x.yaml", litellm(f"{KEYED}, api_base: 'http://${{HOST}}/v1'", params_here=True), litellm(KEYED)),
    Example(
        "KT201",
        "map.yaml",
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  config.yaml: |\n    model_list:\n      - model_name: m\n"
        "@@        litellm_params: {model: openai/x, api_key: $KEY}\n",
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  nginx.conf: |\n    proxy_pass $KEY;\n",
    ),
    *(
        Example("KT202", "x.yaml", litellm(f", api_key: '{text}'", params_here=True), litellm(KEYED))
        for text in (
            "os.environ.OPENAI_API_KEY",
            "environ/OPENAI_API_KEY",
            "os.environ/ OPENAI_API_KEY",
            "os.environ/OPENAI_API_KEY ",
            "os.environ/openai/key",
            "os.environ:OPENAI_API_KEY",
            'os.environ["OPENAI_API_KEY"]',
            "os.env/OPENAI_API_KEY",
            "OS.ENVIRON/OPENAI_API_KEY",
            "env/OPENAI_API_KEY",
            "Bearer os.environ/OPENAI_API_KEY",
            "os.environ/openai_api_key",
        )
    ),
    Example(
        "KT202",
        "x.yaml",
        litellm(", api_key: os.environ/prod/openai", params_here=True),
        litellm(", api_key: os.environ/prod/openai", f"{GENERAL}  key_management_system: aws_secret_manager\n"),
    ),
    Example("KT203", "x.yaml", litellm(params_here=True), litellm(", litellm_credential_name: x")),
    Example("KT203", "x.yaml", litellm(", api_key: ''", params_here=True), litellm(KEYED).replace("openai/", "bedrock/")),
    Example("KT204", "x.yaml", litellm(f"{KEYED}, litellm_credential_name: x", params_here=True), litellm(KEYED)),
    Example("KT205", "x.yaml", litellm(KEYED, f"{GENERAL}litellm_settings:\n@@  api_key: os.environ/X\n"), litellm(KEYED)),
    Example(
        "KT205",
        "x.yaml",
        litellm(KEYED, f"{GENERAL}litellm_settings:\n@@  groq_key: os.environ/X\n"),
        litellm(KEYED, f"{GENERAL}litellm_settings:\n  cache_key: x\n"),
    ),
    Example(
        "KT206", "x.yaml", "@@" + litellm(KEYED, "general_settings: {disable_model_info_refresh: true}\n"), litellm(KEYED)
    ),
    *(
        Example(
            "KT207",
            "x.yaml",
            litellm(KEYED, f"{GENERAL}@@  key_management_system: {name}\n"),
            litellm(KEYED, f"{GENERAL}  key_management_system: custom\n"),
        )
        for name in ("hashicorp_vault", "google_secret_manager", "cyberark")
    ),
    Example(
        "KT208",
        "x.yaml",
        litellm(KEYED, f"{GENERAL}@@  key_management_system: aws_secret_manager\n"),
        litellm(
            KEYED, f"{GENERAL}  key_management_system: aws_secret_manager\n  key_management_settings: {{hosted_keys: [X]}}\n"
        ),
    ),
    Example("KT209", "x.yaml", "model_list:\n@@  - litellm_params: {model: m}\n", litellm(KEYED)),
    Example("KT210", "x.yaml", litellm(KEYED, "general_settings:\n@@  master_key: os.environ/X\n"), litellm(KEYED)),
    Example(
        "KT210",
        "x.yaml",
        litellm(KEYED, "general_settings:\n@@  master_key: os.environ/X\n"),
        litellm(KEYED, "general_settings: {master_key: os.environ/X}\n").replace("openai/", "anthropic/"),
    ),
    Example("KT211", "x.yaml", litellm(f"{KEYED}, mock_response: hi", params_here=True), litellm(KEYED)),
    Example(
        "KT212",
        "x.yaml",
        litellm(", api_key: oidc/file/run/secrets/x", params_here=True),
        litellm(", api_key: oidc/file//run/secrets/x"),
    ),
    Example(
        "KT212",
        "x.yaml",
        litellm(", api_key: oidc/file//etc/x", params_here=True),
        litellm(", api_key: oidc/file//var/run/secrets/x"),
    ),
    Example(
        "KT301", "compose.yaml", service("@@    command: litellm proxy --config x\n"), service("    command: --config x\n")
    ),
    Example(
        "KT301", "compose.yaml", service("@@    command: [litellm, proxy]\n"), service("    command: [--port, '4000']\n")
    ),
    Example(
        "KT301",
        "compose.yaml",
        service("@@    command: [proxy, --config, x]\n"),
        service("    entrypoint: [litellm]\n    command: [--config, x]\n"),
    ),
    Example(
        "KT301",
        "compose.yaml",
        service("@@    command: [litellm, --config, x]\n"),
        service("    command: litellm --config x\n", image="own/litellm-image:1"),
    ),
    Example(
        "KT301",
        "compose.yaml",
        service("@@    entrypoint: litellm-proxy --config x\n"),
        service("    command: [--config, /etc/litellm-proxy/x]\n"),
    ),
    Example(
        "KT301",
        "compose.yaml",
        service("@@    command: sh -c 'sleep 1 && litellm proxy'\n", image="x/y:1"),
        service("    command: sh -c 'litellm --config x'\n", image="x/y:1"),
    ),
    Example(
        "KT301",
        "pod.yaml",
        deployment(more="@@          command: [litellm, proxy]\n"),
        deployment(more="          command: [litellm, --config, x]\n"),
    ),
    Example(
        "KT302",
        "compose.yaml",
        service("    environment:\n      GEMINI_API_KEY: ${A}\n@@      GOOGLE_API_KEY: ${B}\n"),
        service("    environment:\n      GEMINI_API_KEY: ${A}\n      GOOGLE_API_KEY: ${A}\n"),
    ),
    Example(
        "KT302",
        "pod.yaml",
        deployment(
            more="          env:\n            - {name: AZURE_API_KEY, valueFrom: {}}\n"
            "@@            - {name: AZURE_OPENAI_API_KEY, valueFrom: {}}\n"
        ),
        deployment(
            more="          env:\n            - {name: AZURE_API_KEY, valueFrom: {}}\n"
            "            - {name: AZURE_OPENAI_API_KEY, value: ''}\n"
        ),
    ),
    Example("KT302", "x.env", "TOGETHERAI_API_KEY=a\n@@TOGETHER_API_KEY=b\n", "TOGETHERAI_API_KEY=a\nTOGETHER_API_KEY=\n"),
    Example(
        "KT303",
        "compose.yaml",
        service("").replace("    stop_grace_period: 90s\n", "").replace("  proxy", "@@  proxy"),
        service(""),
    ),
    Example(
        "KT303",
        "compose.yaml",
        service("", stop="@@    stop_grace_period: 15s\n"),
        service("", stop="    stop_grace_period: 1m30s\n"),
    ),
    Example(
        "KT303",
        "compose.yaml",
        service(
            "    command: [keyturn, exec, --proxy, x, --, litellm]\n", image="own:1", stop="@@    stop_grace_period: 90s\n"
        ),
        service(
            "    command: [keyturn, exec, --grace, 60s, --, litellm]\n", image="own:1", stop="    stop_grace_period: 90s\n"
        ),
    ),
    *(
        Example(
            "KT304", "compose.yaml", service("", image=image).replace("    image", "@@    image"), service("", image=good)
        )
        for image, good in (
            ("ghcr.io/berriai/litellm:main-latest", "ghcr.io/berriai/litellm:v1.106.2-stable"),
            ("ghcr.io/berriai/litellm-database:main-stable", "ghcr.io/berriai/litellm:${TAG}"),
            ("litellm/litellm", f"ghcr.io/berriai/litellm@sha256:{'a' * 64}"),
            ("ghcr.io/berriai/litellm:latest", "own/keyturn-litellm:latest"),
        )
    ),
    Example(
        "KT304",
        "values.yaml",
        "image:\n  repository: ghcr.io/berriai/litellm\n@@  tag: main-latest\n",
        "image: {repository: ghcr.io/berriai/litellm, tag: v1.106.2}\n",
    ),
    *(
        Example(
            "KT305",
            "compose.yaml",
            service("", image=f"ghcr.io/berriai/litellm:{tag}").replace("    image", "@@    image"),
            service(""),
        )
        for tag in ("v1.82.7-stable", "main-v1.82.8", "v1.107.0")
    ),
    Example(
        "KT305",
        "pod.yaml",
        deployment(more='@@          args: [sh, -c, "pip install litellm[proxy]==1.82.8"]\n'),
        deployment(more='          args: [sh, -c, "pip install litellm==1.106.2"]\n'),
    ),
    Example(
        "KT306",
        "compose.yaml",
        service("", image="ghcr.io/berriai/litellm:main-v1.65.4-stable").replace("    image", "@@    image"),
        service(""),
    ),
    Example(
        "KT306",
        "compose.yaml",
        service("", image="ghcr.io/berriai/litellm-database:main-v1.34.4.dev2").replace("    image", "@@    image"),
        service("", image="ghcr.io/berriai/litellm-database:v1.110.4.dev2"),
    ),
    Example(
        "KT307",
        "compose.yaml",
        service("@@    command: [keyturn, exec, --, litellm, --num_workers, '4']\n", stop="    stop_grace_period: 2m\n"),
        service("    command: [--num_workers, '4']\n"),
    ),
    Example(
        "KT308",
        "compose.yaml",
        service("@@    command: --config x --detailed_debug\n"),
        service("    command: --config x\n"),
    ),
    Example("KT401", "pod.yaml", deployment(spec="@@  replicas: 1\n"), deployment()),
    Example(
        "KT401",
        "pod.yaml",
        deployment(spec="").replace("  template", "@@  template"),
        deployment(spec="")
        + "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec: {scaleTargetRef: {name: proxy}}\n",
    ),
    Example("KT402", "pod.yaml", deployment(spec="  replicas: 3\n  strategy:\n@@    type: Recreate\n"), deployment()),
    Example(
        "KT402",
        "pod.yaml",
        deployment(spec="  replicas: 3\n  strategy:\n@@    rollingUpdate: {maxUnavailable: 1}\n"),
        deployment(spec="  replicas: 3\n"),
    ),
    Example(
        "KT402",
        "pod.yaml",
        deployment(spec="@@  replicas: 4\n"),
        deployment(spec="  replicas: 4\n  strategy: {rollingUpdate: {maxUnavailable: 0%}}\n"),
    ),
    Example("KT403", "pod.yaml", deployment(readiness="").replace("        - name", "@@        - name"), deployment()),
    Example(
        "KT404",
        "pod.yaml",
        deployment(pod="@@      terminationGracePeriodSeconds: 54\n"),
        deployment(pod="      terminationGracePeriodSeconds: 55\n"),
    ),
    Example(
        "KT404",
        "pod.yaml",
        deployment(pod="").replace("      containers", "@@      containers"),
        deployment(
            pod="      terminationGracePeriodSeconds: 60\n",
            stop="          lifecycle: {preStop: {exec: {command: [sh, -c, sleep 15]}}}\n",
        ),
    ),
    Example("KT405", "pod.yaml", deployment(stop="").replace("        - name", "@@        - name"), deployment()),
    Example(
        "KT406",
        "pod.yaml",
        deployment(more="          livenessProbe:\n@@            periodSeconds: 10\n"),
        deployment(
            more="          livenessProbe: {periodSeconds: 10}\n"
            "          startupProbe: {periodSeconds: 10, failureThreshold: 12}\n"
        ),
    ),
]

OF_THE_FILE = ("KT104", "KT105")  # told of a file's mode, and of git: tests/lint/test_dotenv.py
OF_KEYTURN_YAML = ("KT501", "KT502")  # tests/lint/test_against_config.py
