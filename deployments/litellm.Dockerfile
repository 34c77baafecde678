# A member: LiteLLM under `keyturn exec`, each in an environment of its own.
# Build from the project's root: docker build -f deployments/litellm.Dockerfile -t keyturn-litellm:local .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:0bee7276f83efd4a1ee05bbbf4281d95ed28e079220a9457f25a93e3f1e3c31b
FROM ${PYTHON_IMAGE} AS build
WORKDIR /opt/keyturn
COPY locks/runtime.txt locks/litellm.txt locks/
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: -r locks/runtime.txt \
    && python -m venv /opt/litellm \
    && /opt/litellm/bin/pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: -r locks/litellm.txt
COPY pyproject.toml README.md ./
COPY keyturn keyturn
RUN .venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM ${PYTHON_IMAGE}
# The worker's image has the same user: it owns the control sockets, which are for their owner alone.
# A new volume takes over the owner of the folder that it is mounted on.
RUN groupadd --gid 10001 keyturn \
    && useradd --uid 10001 --gid keyturn --no-create-home --home-dir /var/lib/keyturn --shell /usr/sbin/nologin keyturn \
    && install -d -o keyturn -g keyturn -m 0700 /run/keyturn /var/lib/keyturn
COPY --from=build /opt/keyturn/.venv /opt/keyturn/.venv
COPY --from=build /opt/litellm /opt/litellm
ENV PATH=/opt/keyturn/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    KEYTURN_CONFIG=/etc/keyturn/keyturn.yaml \
    LITELLM_LOCAL_MODEL_COST_MAP=True \
    LITELLM_MODE=PRODUCTION
WORKDIR /var/lib/keyturn
USER 10001:10001
