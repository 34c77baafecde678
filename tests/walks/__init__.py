"""One walk for each way that a key reaches LiteLLM: real parts, real traffic, a rotation, and what the provider saw.

A walk is a test: it starts a `Walk`, its members as its way has them, a balancer, sends traffic, rotates by the command that
a user types, and looks what was on the wire. What all of them share is in walk.py.
"""
