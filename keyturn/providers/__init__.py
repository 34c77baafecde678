"""Provider adapters: one vendor's key API per file."""
