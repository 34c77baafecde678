"""Leases: tokens that end by themselves and are fetched anew before. One kind per file; see keyturn.ports.Lease."""
