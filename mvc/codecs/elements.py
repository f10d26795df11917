"""Elements as codecs see them: what :mod:`mvc.elements` offers, which predictors use too."""

from mvc.elements import U8, Elements, octets, scratch, signed, unsigned, view

__all__ = ["U8", "Elements", "octets", "scratch", "signed", "unsigned", "view"]
