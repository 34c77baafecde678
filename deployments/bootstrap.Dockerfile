# A proxy that reads its keys once, when it starts: LiteLLM becomes process 1 of the container, its keys in the environment.
# Build from the project's root, after the image that it is made of:
#   docker build -f deployments/litellm.Dockerfile -t keyturn-litellm:local .
#   docker build -f deployments/bootstrap.Dockerfile -t keyturn-bootstrap:local .
# `prod` is an entry of `proxies` in keyturn.yaml. docs/bootstrap.md says what to mount, and how to turn a key.
FROM keyturn-litellm:local
ENTRYPOINT ["keyturn", "exec", "--proxy", "prod", "--"]
CMD ["/opt/litellm/bin/litellm", "--config", "/etc/keyturn/litellm.yaml", "--host", "0.0.0.0", "--port", "4000"]
