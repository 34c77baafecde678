"""keyturn: the rotation orchestrator for the provider keys behind LiteLLM proxies."""
