"""Care of the store: checking it, and keeping its files few."""
