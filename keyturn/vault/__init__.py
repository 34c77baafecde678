"""How Vault and OpenBao are spoken to: the connection, the logins, the life of a token. Stores and providers build on it."""
