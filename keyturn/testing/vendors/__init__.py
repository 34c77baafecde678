"""Simulators of vendors' key APIs, one a file, as HTTP servers on loopback; what they share is in vendors.service.

Each names in HELD_BY what holds it to the truth: the vendor's own SDK that drives it, the vendor's API description that its
answers are checked against, or an example of the vendor's page that they are compared with.
"""
