"""Store adapters: one secret manager per file."""
