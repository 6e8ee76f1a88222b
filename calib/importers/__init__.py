"""Readers of other layouts; each module has a ``read`` that returns a checked paired table."""
