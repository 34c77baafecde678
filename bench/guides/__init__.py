"""What people do today, written plainly: the entrypoints and sketches that keyturn's figures are compared with."""
