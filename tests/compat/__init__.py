"""What a version of LiteLLM can do. `make test-compat` runs it on each that is supported."""
