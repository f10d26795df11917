"""Repairing a store: what any copy anywhere can give comes back, and nothing that is there is lost."""
