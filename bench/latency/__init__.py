"""How long keyturn takes beside what it has to wait for: simulated calls that tell when they began and ended."""
