"""What both ends of a pairing share: node and operator. No root, no disk."""

__version__ = "0.1.0"
