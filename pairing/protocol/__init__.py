"""The conversation between node and operator as pure state machines (docs/protocol.md)."""
