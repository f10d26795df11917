"""Encodings that several file formats stand on, one per module; none knows what a tensor is.

Each raises :class:`mvc.formats.base.NotThisFormat` where bytes are malformed or beyond its budgets, and
nothing else, whatever the bytes.
"""
