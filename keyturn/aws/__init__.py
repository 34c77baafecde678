"""AWS, for every adapter that calls it: whose credentials, and what its SDK gives or raises."""
