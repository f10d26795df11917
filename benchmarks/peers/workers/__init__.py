"""Processes that do a peer's work without its start-up; those of peers run in the peers' environment."""
