"""The service that takes reports of leaks and starts `respond` at once, in its own process."""
