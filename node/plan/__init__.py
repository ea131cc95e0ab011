"""Pure planners: (facts, config) -> steps."""
