"""A bisection under way: its state in refs, the steps from version to version, versions made for a test."""
