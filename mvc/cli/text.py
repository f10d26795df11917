"""Numbers, times and tables as people read them, and foreign text without what could fool a terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mvc.objects import Timestamp

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_SECONDS = 86400


def share(part: float) -> str:
    """A share of one as ``4.2 %``; what is not nothing never looks like nothing."""
    percent = part * 100
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f} %".replace(".0 %", " %") if percent < 100 else f"{percent:.0f} %"


def duration(seconds: float) -> str:
    """``0.2 s``, ``1:05`` minutes, ``2:01:05`` hours."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def when(time: Timestamp) -> str:
    """As ``git log`` has it: ``Sat Nov 21 00:05:12 2026 +0100``."""
    days, (hour, minute, second) = _local(time)
    year, month, day = civil(days)
    name = _DAYS[(days + 3) % 7]  # 1970-01-01 was a Thursday
    return f"{name} {_MONTHS[month - 1]} {day} {hour:02}:{minute:02}:{second:02} {year} {_offset(time, '')}"


def when_short(time: Timestamp) -> str:
    """For tables: ``2026-11-21 00:05:12``."""
    days, (hour, minute, second) = _local(time)
    year, month, day = civil(days)
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"


def iso(time: Timestamp) -> str:
    """ISO 8601 with microseconds and offset."""
    days, (hour, minute, second) = _local(time)
    year, month, day = civil(days)
    micro = time.microseconds % 1_000_000
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}{_offset(time, ':')}"


def _local(time: Timestamp) -> tuple[int, tuple[int, int, int]]:
    """Days since 1970, and hour, minute, second, at the offset where the time was written down."""
    days, rest = divmod(time.microseconds // 1_000_000 + time.offset_minutes * 60, _DAY_SECONDS)
    return days, (rest // 3600, rest % 3600 // 60, rest % 60)


def _offset(time: Timestamp, colon: str) -> str:
    sign = "-" if time.offset_minutes < 0 else "+"
    hours, minutes = divmod(abs(time.offset_minutes), 60)
    return f"{sign}{hours:02}{colon}{minutes:02}"


def days_of(year: int, month: int, day: int) -> int:
    """Days since 1970 of a day of the proleptic Gregorian calendar; :func:`civil`'s inverse.

    Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", ``days_from_civil``.
    """
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


def civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a day since 1970, whatever the year: a commit may claim one that ``datetime``
    refuses.

    Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", ``civil_from_days``.
    """
    days += 719_468
    era, day_of_era = divmod(days, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


def table(rows: Sequence[Sequence[str]], right: Collection[int] = (), indent: str = "") -> list[str]:
    """Lines with aligned columns; those numbered in ``right`` are flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines
