"""Sizes in bytes on the command line: ``5GB``, ``512MiB``."""

from __future__ import annotations

import re

from mvc.errors import UsageError

_UNITS: dict[str, int] = {
    "": 1,
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,3}))?\s*([A-Za-z]*)")
_MOST = 1 << 62


def parse_size(option: str, text: str) -> int:
    """Bytes of a size; decimal units (KB, MB, GB, TB) and binary ones (KiB, …), in any case.

    Raises:
        UsageError: it is no size, or none that a file can have.
    """
    found = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(found[3].upper()) if found else None
    if found is None or unit is None:
        raise UsageError(f"{option} takes a size, not {text!r}", hint=f"for example {option} 5GB")
    size = int(found[1]) * unit + int((found[2] or "0").ljust(3, "0")) * unit // 1000
    if not 0 < size < _MOST:
        raise UsageError(f"{option} takes a size, not {text!r}", hint=f"for example {option} 5GB")
    return size
