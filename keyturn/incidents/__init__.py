"""What a report of a leak is made of: whose key it is. Reports are read here, and forgotten; nothing here runs anything."""
