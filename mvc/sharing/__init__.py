"""Stores that people share: opened by their addresses, followed by refs, moved to and from."""
