"""Which values of a file of results are numbers that a version may record."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from mvc.objects import Number


def is_number(value: Any) -> TypeGuard[Number]:
    """Whether it is a finite number of 64 bits; a boolean is none."""
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 63
    return type(value) is float and math.isfinite(value)
