"""Conformance suites, simulators and embedded servers, for anyone who writes an adapter or tries keyturn out."""
