"""The styles in which a moment can be shown: ``--date=STYLE``."""

from __future__ import annotations

from collections.abc import Callable

from mvc.cli.text import iso, when, when_short
from mvc.objects import Timestamp

_SECONDS = 1_000_000

Style = Callable[[Timestamp], str]


def styles(now: Timestamp) -> dict[str, Style]:
    """Every style by its name; ``now`` is what relative ones count from."""
    return {
        "default": when,
        "iso": _iso_like,
        "iso-strict": iso,
        "relative": lambda time: relative(time, now),
        "rfc": _rfc,
        "short": lambda time: when_short(time)[:-9],
        "unix": lambda time: str(time.microseconds // _SECONDS),
    }


def relative(time: Timestamp, now: Timestamp) -> str:
    """``3 hours ago``, rounded as Git rounds (``show_date_relative`` in its ``date.c``)."""
    passed = now.microseconds // _SECONDS - time.microseconds // _SECONDS
    if passed < 0:
        return "in the future"
    for below, name, least in ((60, "second", 90), (60, "minute", 90), (24, "hour", 36)):
        if passed < least:
            return _ago(passed, name)
        passed = (passed + below // 2) // below
    if passed < 14:
        return _ago(passed, "day")
    if passed < 70:
        return _ago((passed + 3) // 7, "week")
    if passed < 365:
        return _ago((passed + 15) // 30, "month")
    if passed < 1825:
        years, months = divmod((passed * 12 * 2 + 365) // (365 * 2), 12)
        return f"{_count(years, 'year')}, {_ago(months, 'month')}" if months else _ago(years, "year")
    return _ago((passed + 183) // 365, "year")


def _ago(number: int, unit: str) -> str:
    return f"{_count(number, unit)} ago"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _iso_like(time: Timestamp) -> str:
    strict = iso(time)
    day, rest = strict[:-22], strict[-21:]
    return f"{day} {rest[:8]} {rest[15:18]}{rest[19:]}"


def _rfc(time: Timestamp) -> str:
    """RFC 2822: ``Sat, 21 Nov 2026 00:05:12 +0100``."""
    name, month, rest = when(time).split(" ", 2)
    day, clock, year, zone = rest.split(" ")
    return f"{name}, {day} {month} {year} {clock} {zone}"
