"""Programs that run with the Python of a proxy's environment, where LiteLLM is: they import nothing of keyturn's."""
