"""Everything an operator types."""
