"""A Git-style, content-addressed version store for AI model weights."""
