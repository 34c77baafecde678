"""Every rule of `keyturn lint`. docs/lint.md is held to it by a test.

What a rule says of LiteLLM was measured or read with 1.106.2; of Docker and Kubernetes, it is their documented defaults.
"""

from __future__ import annotations

from keyturn.lint.finding import Rule, Severity

_ERROR, _WARNING, _NOTE = Severity.error, Severity.warning, Severity.note

UNREADABLE = Rule(
    "KT001",
    "unreadable",
    _ERROR,
    "the file cannot be read, or is not YAML",
    "What cannot be read was not checked.",
    "make it a text file in UTF-8 that is valid YAML, or leave it out",
)
NOT_READ = Rule(
    "KT002",
    "not-read",
    _NOTE,
    "a template, a tag, or a size that is not looked into",
    "Only a search for literal keys was made there. Helm and Go templates are no YAML before they are rendered.",
    "lint the rendered file: helm template ... > rendered.yaml",
)
IDLE_IGNORE = Rule(
    "KT003",
    "idle-ignore",
    _WARNING,
    "a `keyturn: ignore` without a rule that there is, or without a reason",
    "It ignores nothing. An exception that nobody can explain is not one.",
    "write `# keyturn: ignore KT102 the reason`, on the line or on one above it",
)

LITERAL_KEY = Rule(
    "KT101",
    "literal-key",
    _ERROR,
    "key text in the file, also in a comment or a block of text",
    "Whoever reads the file has the key, and its history keeps it. A key that stands in a file is not turned by a rotation. "
    "In a .env file that only its owner can read, and that git does not track, it is a note.",
    "take it out, revoke it at the provider, and let the file name a variable",
)
LITERAL_SECRET = Rule(
    "KT102",
    "literal-secret",
    _ERROR,
    "a value written out where a secret belongs",
    "As KT101. Keys of Azure, Mistral or Cohere have no form of their own: the name beside them tells them.",
    "name a variable, a Secret or a file in its place, and replace the value where it is used",
)
EXAMPLE_MASTER_KEY = Rule(
    "KT103",
    "example-master-key",
    _ERROR,
    "the master key of LiteLLM's own examples",
    "Everybody knows it. Who has the master key may use every model, and read the configuration.",
    "generate one: echo sk-$(openssl rand -hex 24), and keep it in a secret store",
)
OPEN_TO_OTHERS = Rule(
    "KT104",
    "open-to-others",
    _ERROR,
    "a file of secrets that every user of the machine can read",
    "Each process of the machine has the keys then.",
    "chmod 600 the file",
)
COMMITTED = Rule(
    "KT105",
    "committed",
    _ERROR,
    "a file of secrets that git tracks",
    "A repository is copied, and its history is kept: taking the file out later leaves the keys in it.",
    "git rm --cached the file, add it to .gitignore, and rotate what is in it",
)
SECRET_MANIFEST = Rule(
    "KT106",
    "secret-manifest",
    _ERROR,
    "a Kubernetes Secret with its values in the manifest",
    "base64 is no encryption: it is key text in a file, as KT101.",
    "create the Secret from a store (External Secrets, Vault Secrets Operator, keyturn's kubernetes_secret), or seal it",
)

DOLLAR_NAME = Rule(
    "KT201",
    "dollar-name",
    _ERROR,
    "${NAME} or $NAME in LiteLLM's configuration",
    "LiteLLM does not replace it: the provider is sent these very characters, and answers 401.",
    "write os.environ/NAME",
)
MISSPELT_REFERENCE = Rule(
    "KT202",
    "misspelt-reference",
    _ERROR,
    "something like os.environ/NAME that LiteLLM does not take for it",
    "Only a value that begins with os.environ/ is replaced, by the variable named by the rest. Other text is sent as it is, "
    "and for a variable that is not set LiteLLM takes the provider's usual one without a word.",
    "write os.environ/NAME, and nothing before or after it",
)
DEFAULT_VARIABLE = Rule(
    "KT203",
    "default-variable",
    _WARNING,
    "a model that does not say where its key comes from",
    "LiteLLM takes the provider's usual variable then, or another that it reads first: which key is used depends on what "
    "else happens to be set.",
    "add api_key: os.environ/NAME to its litellm_params",
)
TWO_SOURCES = Rule(
    "KT204",
    "two-sources",
    _ERROR,
    "api_key beside litellm_credential_name",
    "The model's own api_key wins in a call: a credential that is changed in LiteLLM's database changes nothing.",
    "keep one of the two",
)
PINNED_KEY = Rule(
    "KT205",
    "pinned-key",
    _WARNING,
    "a key for all models under litellm_settings",
    "It becomes litellm.api_key or the like, which comes before every variable and is set once: it hides what a rotation "
    "delivers.",
    "take it out, and give each model api_key: os.environ/NAME",
)
NO_MASTER_KEY = Rule(
    "KT206",
    "no-master-key",
    _WARNING,
    "a configuration without general_settings.master_key",
    "Unless LITELLM_MASTER_KEY happens to be set, the proxy serves everybody.",
    "add master_key: os.environ/LITELLM_MASTER_KEY to general_settings",
)
ENTERPRISE_MANAGER = Rule(
    "KT207",
    "enterprise-manager",
    _ERROR,
    "a key_management_system that needs an Enterprise licence",
    "Without a licence LiteLLM does not start: hashicorp_vault, google_secret_manager, cyberark.",
    "let keyturn exec or an agent bring the keys as variables; with a licence, ignore this with that reason",
)
ALL_KEYS_HOSTED = Rule(
    "KT208",
    "all-keys-hosted",
    _WARNING,
    "aws_secret_manager without hosted_keys",
    "Every name is looked up at AWS then, and where a read fails LiteLLM silently takes the variable of the environment: a "
    "stale one hides the failure.",
    "list the names under key_management_settings.hosted_keys, and do not set them as variables",
)
NO_MODEL_ID = Rule(
    "KT209",
    "no-model-id",
    _NOTE,
    "a deployment without model_info.id",
    "The id that LiteLLM makes up changes with the key: nobody can name the deployment in a proof, and logs break apart.",
    "add model_info: {id: ...}",
)
OLD_KEY_LOOKS_USED = Rule(
    "KT210",
    "old-key-looks-used",
    _NOTE,
    "general_settings.disable_model_info_refresh is not on",
    "LiteLLM itself lists models with the key of OpenAI-like deployments every 300 s: the old key goes on looking used.",
    "add disable_model_info_refresh: true to general_settings",
)
MOCKED = Rule(
    "KT211",
    "mocked",
    _WARNING,
    "a deployment with mock_response",
    "It answers without the provider: a dead key looks well.",
    "take it out of what is deployed",
)
OIDC_FILE = Rule(
    "KT212",
    "oidc-file",
    _WARNING,
    "api_key: oidc/file/... that LiteLLM will not read",
    "The path is absolute, which makes two slashes, and lies under /var/run/secrets or /run/secrets, or a folder of "
    "LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS.",
    "write oidc/file//run/secrets/NAME; LiteLLM 1.106.2 sends the text itself, 1.109.1 reads the file",
)

NO_SUCH_COMMAND = Rule(
    "KT301",
    "no-such-command",
    _ERROR,
    "a command that starts no proxy",
    "`litellm proxy` ends with 'Unknown command', and so does `litellm` after an image's own `litellm`. `litellm-proxy` "
    "is a client.",
    "litellm --config FILE --port 4000; with LiteLLM's image the options alone",
)
SHADOWED = Rule(
    "KT302",
    "shadowed",
    _ERROR,
    "two variables for one provider in the same environment",
    "LiteLLM takes the first that is set, in an order of its own. A stale one that comes first defeats the rotation of the "
    "other.",
    "keep the one that is rotated, or name it in LiteLLM's configuration and take the other away",
)
SHORT_STOP = Rule(
    "KT303",
    "short-stop",
    _WARNING,
    "a proxy that Docker kills before its requests are finished",
    "LiteLLM finishes what is under way when it is stopped; Docker kills it after 10 s unless told otherwise.",
    "stop_grace_period: 90s; under keyturn exec more than its --drain and --grace together (93 s unless changed)",
)
FLOATING_IMAGE = Rule(
    "KT304",
    "floating-image",
    _WARNING,
    "a LiteLLM image whose tag moves",
    "A restart, which every roll is, may then start another LiteLLM than the one that was tried.",
    "pin a release, best by digest",
)
MALICIOUS_RELEASE = Rule(
    "KT305",
    "malicious-release",
    _ERROR,
    "a LiteLLM release that steals credentials",
    "1.82.7 and 1.82.8 were malicious. 1.107.* was reported to be, which is not confirmed: a warning.",
    "use >=1.103,!=1.107.*; where one of them ran, replace every key that it could read",
)
OLD_RELEASE = Rule(
    "KT306",
    "old-release",
    _WARNING,
    "a LiteLLM older than 1.103",
    "A key in a request's body stays in its pool and serves users: a candidate cannot be tried through it.",
    "upgrade to 1.103 or later, but not 1.107.*",
)
SEVERAL_WORKERS = Rule(
    "KT307",
    "several-workers",
    _WARNING,
    "keyturn exec around a LiteLLM with several workers",
    "On the stop signal readiness still says 200 while connections break. One supervisor stands for one member.",
    "leave --num_workers out, and add members",
)
LOGS_BODIES = Rule(
    "KT308",
    "logs-bodies",
    _WARNING,
    "--detailed_debug",
    "It logs request bodies, and a canary's request holds the new key.",
    "leave it out where keys are rotated",
)

ONE_REPLICA = Rule(
    "KT401",
    "one-replica",
    _WARNING,
    "one replica",
    "While it is replaced nothing else can serve, should the new pod not get ready.",
    "replicas: 2 or more",
)
CAPACITY_LOST = Rule(
    "KT402",
    "capacity-lost",
    _WARNING,
    "a rollout that stops pods before the new ones are ready",
    "The rest gets their load meanwhile: a new LiteLLM needs ten seconds to a minute.",
    "strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}",
)
NO_READINESS = Rule(
    "KT403",
    "no-readiness",
    _WARNING,
    "no readinessProbe",
    "Requests come before LiteLLM has loaded, and a rollout goes on without a look.",
    "readinessProbe: {httpGet: {path: /health/readiness, port: 4000}}",
)
SHORT_GRACE = Rule(
    "KT404",
    "short-grace",
    _WARNING,
    "a pod that is killed before its requests are finished",
    "terminationGracePeriodSeconds (30 unless set) has to hold the preStop wait, LiteLLM's drain of 30 s, and 15 s more.",
    "terminationGracePeriodSeconds: 90",
)
NO_PRE_STOP = Rule(
    "KT405",
    "no-pre-stop",
    _WARNING,
    "no preStop hook",
    "On SIGTERM LiteLLM refuses new connections at once, while the Service still sends some.",
    "lifecycle: {preStop: {sleep: {seconds: 10}}}",
)
KILLED_STARTING = Rule(
    "KT406",
    "killed-starting",
    _WARNING,
    "a livenessProbe that may kill LiteLLM while it starts",
    "LiteLLM was seen to need up to 90 s until it answers.",
    "startupProbe with failureThreshold times periodSeconds of 120 s or more",
)

NOBODY_WRITES = Rule(
    "KT501",
    "nobody-writes",
    _WARNING,
    "a provider's key that no credential of keyturn.yaml delivers",
    "It is not rotated. A misspelt name looks just the same.",
    "add a credential with that `env`, or correct the name",
)
NOBODY_READS = Rule(
    "KT502",
    "nobody-reads",
    _WARNING,
    "a credential whose variable no LiteLLM configuration reads",
    "It is rotated, and the proxies go on with another key.",
    "name it: api_key: os.environ/NAME",
)

RULES = {each.id: each for each in list(globals().values()) if isinstance(each, Rule)}
