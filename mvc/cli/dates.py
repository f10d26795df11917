"""Moments as people type them, for ``--since`` and ``--until``.

    2026-11-20               a day, here: its first second for --since, its last for --until
    2026-11-20 14:30[:05]    local time; T instead of the space; Z, +01:00 or +0100 behind it
    @1700000000              seconds since 1970; nine and more digits do without the @
    now, today, yesterday    today and yesterday begin at midnight
    2 weeks ago              seconds, minutes, hours, days, weeks, months, years; also 2.weeks.ago,
                             '1 day 2 hours ago', 'last week', '3 days'

Months and years are those of the calendar (a month before 31 March is the last day of February). Local time
is that of the offset from UTC which holds now.
"""

from __future__ import annotations

import re

from mvc.cli.text import civil, days_of
from mvc.errors import UsageError
from mvc.objects import Timestamp

HINT = "for example 2026-11-20, '2026-11-20 14:30', '2 weeks ago', yesterday or @1700000000"
DAY = 86_400
_UNITS = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600, "day": DAY, "week": 7 * DAY}
_CALENDAR = {"month": 1, "year": 12}
_DATE = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
    r"(?:[T ](?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?"
    r"\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?)?"
)
_UNIX = re.compile(r"@-?\d{1,12}|\d{9,12}")
_COUNT = re.compile(r"\d{1,6}|an?|last")


def parse_moment(text: str, now: Timestamp, *, end: bool = False) -> int:
    """Seconds since 1970 of a moment; with ``end`` a bare day means its last second.

    Raises:
        UsageError: it is none of the forms above.
    """
    words = text.strip().lower().replace("_", " ")
    if _UNIX.fullmatch(words):
        return int(words.removeprefix("@"))
    match = _DATE.fullmatch(text.strip().upper())
    if match is not None:
        return _date(text, match, now.offset_minutes, end)
    present = now.microseconds // 1_000_000
    offset = now.offset_minutes * 60
    midnight = (present + offset) // DAY * DAY - offset
    named = {"now": present, "today": midnight, "yesterday": midnight - DAY}
    if words in named:
        return named[words] + (DAY - 1 if end and words != "now" else 0)
    return _ago(text, words.replace(".", " "), present, offset)


def _date(text: str, match: re.Match[str], local_minutes: int, end: bool) -> int:
    year, month, day = (int(match[name]) for name in ("year", "month", "day"))
    days = days_of(year, month, day)
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    # a day that there is comes back from its number
    if not 1 <= month <= 12 or civil(days) != (year, month, day) or hour > 23 or minute > 59 or second > 60:
        raise _unknown(text)
    zone = match["zone"]
    offset = local_minutes
    if zone:
        digits = zone.replace(":", "")
        offset = 0 if zone == "Z" else int(digits[1:3]) * 60 + int(digits[3:5])
        offset = -offset if zone.startswith("-") else offset
    moment = days * DAY + hour * 3600 + minute * 60 + second - offset * 60
    return moment + DAY - 1 if end and match["hour"] is None else moment


def _ago(text: str, words: str, present: int, offset: int) -> int:
    steps = words.split()
    if steps[-1:] == ["ago"]:
        del steps[-1]
    months = seconds = 0
    if not steps or len(steps) % 2:
        raise _unknown(text)
    for number, unit in zip(steps[::2], steps[1::2], strict=True):
        if not _COUNT.fullmatch(number):
            raise _unknown(text)
        count = int(number) if number.isdecimal() else 1
        unit = unit.removesuffix("s")
        if unit in _CALENDAR:
            months += count * _CALENDAR[unit]
        elif unit in _UNITS:
            seconds += count * _UNITS[unit]
        else:
            raise _unknown(text)
    return _months_before(present, months, offset) - seconds


def _months_before(moment: int, months: int, offset: int) -> int:
    """The same day and time so many months earlier; the month's last day where it has no such day."""
    days, rest = divmod(moment + offset, DAY)
    year, month, day = civil(days)
    year, month = divmod(year * 12 + month - 1 - months, 12)
    month += 1
    first = days_of(year, month, 1)
    following = days_of(year + month // 12, month % 12 + 1, 1)
    return (first + min(day, following - first) - 1) * DAY + rest - offset


def _unknown(text: str) -> UsageError:
    return UsageError(f"{text!r} is no moment that mvc understands", hint=HINT)
