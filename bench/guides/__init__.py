"""What the usual guides tell people to write by hand, written plainly: the other side of a comparison."""
