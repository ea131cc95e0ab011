"""The config a node receives: read, checked, merged, redacted."""
