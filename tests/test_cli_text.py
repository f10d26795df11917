"""Numbers and times as people read them, and who acts when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvc.cli import progress
from mvc.cli.progress import TerminalMonitor, progress_line
from mvc.cli.text import duration, iso, share, table, when, when_short
from mvc.context import parse_author
from mvc.errors import UsageError
from mvc.objects import Timestamp
from mvc.text import one_line, plain, size

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)), st.integers(-24 * 60 + 1, 24 * 60 - 1))
def test_times_are_those_of_datetime(moment: datetime, offset: int) -> None:
    zone = timezone(timedelta(minutes=offset))
    local = moment.replace(tzinfo=UTC).astimezone(zone)
    time = Timestamp((local - EPOCH) // timedelta(microseconds=1), offset)
    assert datetime.fromisoformat(iso(time)) == local and iso(time)[:10] == local.date().isoformat()
    assert when_short(time) == local.strftime(f"{local.year:04}-%m-%d %H:%M:%S")
    assert when(time) == local.strftime(f"%a %b {local.day} %H:%M:%S {local.year} %z")


def test_times_that_datetime_refuses_are_shown_too() -> None:
    assert iso(Timestamp((1 << 62) - 1, 0)).startswith("148108-")
    assert when(Timestamp(-(1 << 62), -90)).endswith(" -0130")


def test_sizes_shares_and_durations() -> None:
    sizes = {
        0: "0 B",
        999: "999 B",
        1000: "1.0 kB",
        12_345_678: "12.3 MB",
        99_960_000: "100 MB",
        999_600: "1.0 MB",
    }
    assert {number: size(number) for number in sizes} == sizes
    assert size(10**30).endswith(" EB")
    shares = {
        0.0: "0 %",
        0.042: "4.2 %",
        0.33: "33 %",
        0.0001: "<0.1 %",
        0.9999: ">99.9 %",
        1.0: "100 %",
        2.5: "250 %",
    }
    assert {part: share(part) for part in shares} == shares
    assert [duration(s) for s in (0.21, 12.4, 65, 7265)] == ["0.2 s", "12 s", "1:05", "2:01:05"]


@given(st.text())
def test_foreign_text_is_harmless_and_on_one_line(text: str) -> None:
    for shown in (plain(text), one_line(text)):
        assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in shown)
        shown.encode()
    assert len(one_line(text).splitlines()) <= 1


def test_tables_are_aligned() -> None:
    assert table([("a", "1"), ("bcd", "22")], right=(1,)) == ["a     1", "bcd  22"]
    assert table([]) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada Lovelace <ada@x>", ("Ada Lovelace", "ada@x")),
        ("  Ada  <>", ("Ada", "")),
        ("Ada", ("Ada", "")),
        ("", None),
        ("<a@b>", None),
        ("a <b> c", None),
        ("a\nb <c>", None),
    ],
)
def test_authors(text: str, expected: tuple[str, str] | None) -> None:
    if expected is None:
        with pytest.raises(UsageError):
            parse_author(text)
    else:
        assert parse_author(text) == expected


def test_progress_says_rate_time_left_and_ratio() -> None:
    line = progress_line("commit", 500_000_000, 2_000_000_000, 1e8, 100, 400)
    assert line == "commit  25 %  500 MB of 2.0 GB  100 MB/s  15 s left  stored at 25 %"
    assert progress_line("fsck", 1000, 0, 1000.0, 0, 0) == "fsck  1.0 kB  1.0 kB/s"


def test_monitor_draws_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0)
    monkeypatch.setattr(progress, "INTERVAL", 0)
    shown = {}
    for on in (False, True):
        stream = StringIO()
        monitor = TerminalMonitor(stream, progress=on, width=lambda: 20)
        monitor.start("commit", 100)
        monitor.advance(50)
        monitor.warn("careful\x1b")
        monitor.note_damage("bad pack")
        monitor.finish()
        shown[on] = stream.getvalue()
    assert shown[False] == "warning: careful\\u001b\ndamage: bad pack\n"
    drawn, said = shown[True].split("warning", 1)
    assert "commit  50 %" in drawn and drawn.endswith("\r\x1b[K") and len(drawn) < 40
    assert said.endswith("damage: bad pack\n")
