"""The audit log: who wanted what done to which key, why, on which evidence. Lines of JSON, each chained to the last."""
