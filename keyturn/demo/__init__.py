"""The demo: a rotation under live traffic on embedded parts, measured from outside."""
