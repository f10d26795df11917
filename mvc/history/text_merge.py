"""Three-way merge of text by lines, with conflict markers, as ``git merge-file`` does it.

Hunks of the two sides that touch or overlap are a conflict unless they are equal. A conflict shrinks to the
lines in which its sides differ, and conflicts with at most three lines between them become one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from mvc.history.linediff import Hunk, diff_lines

MAX_TEXT_BYTES = 4 << 20
"""The longest file that is merged by lines."""
MAX_LINES = 500_000
"""The most lines that one may have: each takes about a hundred bytes of memory on each side."""
_LOOKED_AT = 8000  # bytes in which a NUL makes a file binary, as in Git

MARKER_LENGTH = 7
_MARKER = re.compile(rb"\n(?:<{%d} |>{%d} )" % (MARKER_LENGTH, MARKER_LENGTH))
_JOINED = 3  # lines between two conflicts that are not worth telling them apart

Favour = Literal["ours", "theirs", "union"]


class TextMerged(NamedTuple):
    """Merged text, and how many conflicts are marked in it."""

    data: bytes
    conflicts: int


def is_text(data: bytes) -> bool:
    """Whether a file is merged by lines: no NUL near its start, not too long, and not of too many lines."""
    fits = len(data) <= MAX_TEXT_BYTES and data.count(b"\n") <= MAX_LINES
    return fits and b"\0" not in data[:_LOOKED_AT]


def has_markers(pieces: Iterable[bytes]) -> bool:
    """Whether a line of a file, which comes in pieces, begins as the first or last one of a conflict does."""
    before = b"\n"  # the first line begins, too
    for piece in pieces:
        window = before + piece
        if _MARKER.search(window):
            return True
        before = window[-MARKER_LENGTH - 1 :]
    return False


def merge_text(
    base: bytes,
    ours: bytes,
    theirs: bytes,
    *,
    labels: tuple[str, str] = ("ours", "theirs"),
    favour: Favour | None = None,
) -> TextMerged:
    """Merge the changes from ``base`` to ``theirs`` into ``ours``.

    Lines end in LF, which belongs to them: a last line without it differs from one with it. ``favour``
    settles conflicts: by our lines, by theirs, or by both, ours first. Otherwise they are marked with the
    labels, in the line ends of the text around them.
    """
    texts = _Texts(*(_lines(data) for data in (base, ours, theirs)))
    regions = list(_joined(_refined(texts, _overlapping(texts))))
    out: list[bytes] = []
    done = conflicts = 0
    for region in regions:
        out += texts.ours[done : region.ours_start]
        here = texts.ours[region.ours_start : region.ours_end]
        there = texts.theirs[region.theirs_start : region.theirs_end]
        done = region.ours_end
        taken = region.taken or favour
        if taken == "theirs":
            out += there
        elif taken == "ours":
            out += here
        elif taken == "union":
            out += [*_ended(here, _line_end(texts, region)), *there]
        else:
            end = _line_end(texts, region)
            conflicts += 1
            out += [_marker(b"<", labels[0], end), *_ended(here, end), _marker(b"=", "", end)]
            out += [*_ended(there, end), _marker(b">", labels[1], end)]
    out += texts.ours[done:]
    return TextMerged(b"".join(out), conflicts)


class _Texts(NamedTuple):
    base: list[bytes]
    ours: list[bytes]
    theirs: list[bytes]


class _Region(NamedTuple):
    """Lines that ours or theirs changed; ``taken`` says whose are right, None where they are in conflict."""

    ours_start: int
    ours_end: int
    theirs_start: int
    theirs_end: int
    taken: Literal["ours", "theirs"] | None = None


def _lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


# --- regions -----------------------------------------------------------------------------------------------
def _overlapping(texts: _Texts) -> Iterator[_Region]:
    """What either side changed, and what both did where that touches."""
    ours = diff_lines(texts.base, texts.ours)
    theirs = diff_lines(texts.base, texts.theirs)
    # How far a line that nobody changed has moved on either side.
    here = there = at = other = 0
    while at < len(ours) or other < len(theirs):
        mine, yours = [], []
        end = -1
        while True:
            if (
                at < len(ours)
                and (end < 0 or ours[at].old_start <= end)
                and (end >= 0 or other == len(theirs) or ours[at].old_start <= theirs[other].old_start)
            ):
                mine.append(ours[at])
                end = max(end, ours[at].old_end)
                at += 1
            elif other < len(theirs) and (end < 0 or theirs[other].old_start <= end):
                yours.append(theirs[other])
                end = max(end, theirs[other].old_end)
                other += 1
            else:
                break
        start = min(hunk.old_start for hunk in (*mine[:1], *yours[:1]))
        before = here, there
        here, there = _shift(mine, here), _shift(yours, there)
        if not _equal(texts, mine, yours):
            taken: Literal["ours", "theirs"] | None
            taken = "ours" if not yours else "theirs" if not mine else None
            yield _Region(start + before[0], end + here, start + before[1], end + there, taken)


def _shift(hunks: Sequence[Hunk], before: int) -> int:
    return hunks[-1].new_end - hunks[-1].old_end if hunks else before


def _equal(texts: _Texts, mine: Sequence[Hunk], yours: Sequence[Hunk]) -> bool:
    """Whether both sides made one and the same change."""
    if not (len(mine) == len(yours) == 1) or mine[0][:2] != yours[0][:2]:
        return False
    here, there = mine[0], yours[0]
    return texts.ours[here.new_start : here.new_end] == texts.theirs[there.new_start : there.new_end]


def _refined(texts: _Texts, regions: Iterable[_Region]) -> Iterator[_Region]:
    """Conflicts cut down to the lines in which their sides differ."""
    for region in regions:
        here = texts.ours[region.ours_start : region.ours_end]
        there = texts.theirs[region.theirs_start : region.theirs_end]
        if region.taken or not (here and there):
            yield region
            continue
        for hunk in diff_lines(here, there):
            yield _Region(
                region.ours_start + hunk.old_start,
                region.ours_start + hunk.old_end,
                region.theirs_start + hunk.new_start,
                region.theirs_start + hunk.new_end,
            )


def _joined(regions: Iterable[_Region]) -> Iterator[_Region]:
    """Conflicts with few lines between them made one."""
    held: _Region | None = None
    for region in regions:
        if held is None:
            held = region
        elif not (held.taken or region.taken) and region.ours_start - held.ours_end <= _JOINED:
            held = held._replace(ours_end=region.ours_end, theirs_end=region.theirs_end)
        else:
            yield held
            held = region
    if held is not None:
        yield held


# --- markers -----------------------------------------------------------------------------------------------
def _marker(sign: bytes, label: str, end: bytes) -> bytes:
    text = sign * MARKER_LENGTH
    return (text + b" " + label.encode() if label else text) + end


def _ended(lines: Sequence[bytes], end: bytes) -> list[bytes]:
    """Lines of which the last one has an end."""
    if lines and not lines[-1].endswith(b"\n"):
        return [*lines[:-1], lines[-1] + end]
    return list(lines)


def _line_end(texts: _Texts, region: _Region) -> bytes:
    """CR LF where the base starts with it, and neither side has LF before the conflict."""
    sides = ((texts.ours, region.ours_start), (texts.theirs, region.theirs_start))
    denied = any(_has_cr(lines, max(start - 1, 0)) is False for lines, start in sides)
    return b"\r\n" if _has_cr(texts.base, 0) and not denied else b"\n"


def _has_cr(lines: Sequence[bytes], number: int) -> bool | None:
    """Whether a line ends in CR LF, or the one before it where it has no end; None where nothing tells."""
    if number < len(lines) and not lines[number].endswith(b"\n"):
        number -= 1
    if not 0 <= number < len(lines):
        return None
    return lines[number].endswith(b"\r\n")
