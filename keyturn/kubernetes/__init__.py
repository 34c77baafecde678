"""How a Kubernetes API server is spoken to: the connection, the logins, and what its answers mean."""
