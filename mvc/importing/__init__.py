"""Versions that other tools have, as versions of a repository: what there is, what is new of it, storing it,
branches and tags."""
