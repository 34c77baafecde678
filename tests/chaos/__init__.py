"""Chaos: real rotations in child processes, killed, stalled and lied to at every call they make; what is left is judged.

    python -m tests.chaos [--size ci|full] [--seed N] [--only FAMILY] [--folder var/chaos]

See docs/testing.md.
"""
