"""Everything that makes or runs a node."""
