"""The folder in which people work: what is in it, what of it counts, and what is known to be unchanged."""
