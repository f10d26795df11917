"""The object database: plain bytes in, plain bytes out, by id; how they are stored is its own affair."""
