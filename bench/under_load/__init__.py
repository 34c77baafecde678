"""Fleets of real LiteLLM proxies, rolled while requests come: by keyturn, and as people do without it."""
