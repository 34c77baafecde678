"""How a key reaches LiteLLM."""
