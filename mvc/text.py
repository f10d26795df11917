"""Numbers as people read them, and foreign text without what could fool whoever looks at it."""

from __future__ import annotations

import re

_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")
_HOSTILE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """Foreign text with control characters (escape sequences, changes of writing direction) spelled out."""
    return _HOSTILE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_line(text: str) -> str:
    """Foreign text as :func:`plain`, and on one line."""
    return plain(text).replace("\t", " ").replace("\n", "\\n")


def size(count_bytes: int) -> str:
    """Bytes as ``12.3 MB``, in powers of 1000."""
    if count_bytes < 1000:
        return f"{count_bytes} B"
    value, unit = count_bytes / 1000, 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.1f} {_UNITS[unit]}" if value < 99.95 else f"{value:.0f} {_UNITS[unit]}"


def count(number: int, noun: str, nouns: str = "") -> str:
    """``1 file``, ``3 files``; ``nouns`` is the plural where it is no added ``s``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {nouns or noun + 's'}"


def times(factor: float) -> str:
    """How many times: ``39.7 times``, ``1,710 times``."""
    return f"{factor:,.0f} times" if 1000 <= factor < 1e6 else f"{factor:.3g} times"


def number(value: float) -> str:
    """A metric as short as it is exact enough to compare."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
