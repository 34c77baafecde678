"""Fleet adapters: one way to run and roll LiteLLM proxies per file."""
