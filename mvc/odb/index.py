"""The index: which of the live segments know an id, and how their number is kept small.

``root`` lists the live segments as rows. Rows of one *run* cover ascending ranges of ids, so a look-up probes
one segment per run; :func:`plan_merge` keeps the runs few. Figures: docs/design/0001-index-segments.md.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress, groupby
from operator import attrgetter
from typing import NamedTuple

from mvc.errors import CorruptFile
from mvc.odb.segment import (
    MAX_BYTES,
    NONCE_BYTES,
    SHORT_NAME,
    Entry,
    Segment,
    SegmentRow,
    build_segments,
    is_nonce,
    nonce_name,
    segment_name,
    shorten,
)

__all__ = ["Entry", "Index", "Merge", "Merged", "SegmentRow", "merge", "plan_full_merge", "plan_merge"]

GROWTH = 4  # a run is left alone when it has three times as many entries as all newer ones that are merged
COMMIT_ENTRIES = 2_800_000  # about 128 MiB, a second's work: the most that a commit merges
LIGHT_ENTRIES = 8_192  # the most that is merged without numpy

_ID = 32

Keep = Mapping[bytes, bytes | bytearray]
"""For segments by name: a byte for each row, 0 where it is not wanted."""


class _Run:
    """The segments of one run by ascending ranges, opened as they are needed."""

    __slots__ = ("firsts", "lasts", "rows", "segments")

    def __init__(self, rows: Sequence[SegmentRow]) -> None:
        self.rows = sorted(rows, key=attrgetter("first", "last"))
        self.firsts = [int.from_bytes(row.first, "big") for row in self.rows]
        self.lasts = [int.from_bytes(row.last, "big") for row in self.rows]
        self.segments: list[Segment | None] = [None] * len(self.rows)

    @property
    def count(self) -> int:
        """Entries of the run."""
        return sum(row.entries for row in self.rows)


def _runs(rows: Iterable[SegmentRow]) -> list[_Run]:
    """Runs of rows in any order, the one with the most entries first."""
    ordered = sorted(rows, key=attrgetter("run"))
    runs = [_Run(list(group)) for _, group in groupby(ordered, key=attrgetter("run"))]
    return sorted(runs, key=attrgetter("count"), reverse=True)


class Index:
    """Looks ids up in the live segments.

    ``open_segment`` gives the segment of a name; each is opened when it is first needed. Entries that point
    into ``dead_packs`` are passed over. Ids have 32 bytes. Every method raises CorruptFile when it meets a
    damaged segment, and what ``open_segment`` raises. Safe to use from several threads.
    """

    def __init__(
        self,
        rows: Sequence[SegmentRow],
        open_segment: Callable[[bytes], Segment],
        dead_packs: Collection[bytes] = frozenset(),
    ) -> None:
        self.rows = tuple(rows)
        self.dead_packs = dead_packs
        self._open_segment = open_segment
        self._runs = _runs(rows)  # most entries first: there an old id most likely is
        self._by_name = {row.name: (run, number) for run in self._runs for number, row in enumerate(run.rows)}

    def _open(self, run: _Run, number: int) -> Segment:
        row = run.rows[number]
        segment = self._open_segment(row.name)
        if (segment.count, segment.first, segment.last) != (row.entries, row.first, row.last):
            raise segment.damaged("is not what root says of it")
        run.segments[number] = segment
        return segment

    def _hits(self, id: bytes) -> Iterator[tuple[Segment, int]]:
        """Segments that hold an id, with the row of its first record there."""
        if len(id) != _ID:
            raise ValueError(f"an id has {_ID} bytes, not {len(id)}")
        prefix = int.from_bytes(id[:8], "big")
        for run in self._runs:
            number = bisect_right(run.firsts, prefix) - 1
            # more than one step only where ids of two segments share their first eight bytes
            while number >= 0 and run.lasts[number] >= prefix:
                segment = run.segments[number] or self._open(run, number)
                row = segment.locate(id, prefix)
                if row >= 0:
                    yield segment, row
                number -= 1

    def segment(self, name: bytes) -> Segment:
        """A live segment by its full name (KeyError: there is none)."""
        run, number = self._by_name[name]
        return run.segments[number] or self._open(run, number)

    def covering(self, ids: Iterable[bytes]) -> dict[SegmentRow, list[bytes]]:
        """The live segments whose ranges take these ids in, each with those of them; opens none."""
        found: dict[SegmentRow, list[bytes]] = {}
        for id in ids:
            prefix = int.from_bytes(id[:8], "big")
            for run in self._runs:
                number = bisect_right(run.firsts, prefix) - 1
                while number >= 0 and run.lasts[number] >= prefix:
                    found.setdefault(run.rows[number], []).append(id)
                    number -= 1
        return found

    def of_rows(self, rows: Sequence[SegmentRow]) -> Index:
        """An index of these segments alone."""
        return Index(rows, self._open_segment, self.dead_packs)

    def forget_pages(self) -> None:
        """Let go of the memory that maps hold: all that look-ups have touched. Later ones map it again.

        Look-ups of random ids soon touch every page of an index, and mapped pages count as the process's
        memory. A command that looks up many ids calls this now and then, so as to stay within its budget.
        """
        for run in self._runs:
            for segment in run.segments:
                if segment is not None:
                    segment.forget_pages()

    def find(self, id: bytes) -> list[Entry]:
        """All records of an id, least depth first; empty if it has none.

        An id that is not found may be hidden by damage: before calling an object missing for good, ask
        :meth:`damage`.
        """
        found: list[Entry] = []
        for segment, row in self._hits(id):
            found.extend(segment.entries_from(row))
        if self.dead_packs:
            found = [entry for entry in found if entry.pack not in self.dead_packs]
        if len(found) > 1:
            found = sorted(set(found), key=attrgetter("depth", "pack", "offset"))
        return found

    def places(self, id: bytes) -> list[tuple[bytes, int, Entry]]:
        """Every live record of an id, in no order: the segment's name, the row in it, the entry there."""
        return [
            (segment.name, first + number, entry)
            for segment, first in self._hits(id)
            for number, entry in enumerate(segment.entries_from(first))
            if entry.pack not in self.dead_packs
        ]

    def __contains__(self, id: bytes) -> bool:
        """Whether an id has a record outside of dead packs."""
        for segment, row in self._hits(id):
            if not self.dead_packs:
                return True
            if any(entry.pack not in self.dead_packs for entry in segment.entries_from(row)):
                return True
        return False

    def find_prefix(self, hex_prefix: str) -> set[tuple[int, bytes]]:
        """Kind and id of every object whose id starts with these hexadecimal digits, any number from 0 to 64.

        Raises:
            ValueError: they are not hexadecimal digits, or too many.
        """
        if len(hex_prefix) > 2 * _ID or not all(digit in "0123456789abcdefABCDEF" for digit in hex_prefix):
            raise ValueError(f"not the beginning of an id: {hex_prefix!r}")
        low = bytes.fromhex(hex_prefix.ljust(2 * _ID, "0"))
        high = bytes.fromhex(hex_prefix.ljust(2 * _ID, "f"))
        found: set[tuple[int, bytes]] = set()
        for run in self._runs:
            for number, row in enumerate(run.rows):
                if row.first <= high[:8] and row.last >= low[:8]:
                    segment = run.segments[number] or self._open(run, number)
                    found.update(segment.find_prefix(low, high))
        return {(kind, id) for kind, id in found if id in self} if self.dead_packs else found

    def entries(self) -> Iterator[Entry]:
        """Every live entry, in no order; an entry that stands in several runs comes several times."""
        for row in self.rows:
            for entry in self.segment(row.name):
                if entry.pack not in self.dead_packs:
                    yield entry

    def damage(self) -> Iterator[CorruptFile]:
        """Verify every live segment, byte by byte; yields what is wrong with those that are damaged."""
        for row in self.rows:
            try:
                self.segment(row.name).verify()
            except CorruptFile as error:
                yield error

    def resolve(self, names: Iterable[bytes]) -> list[SegmentRow] | None:
        """The live segments in which the entries of some segments are now.

        Opens one segment per run. ``names`` are full ones, as a locator lists them. None means that a name is
        unknown: look in all segments. An entry that moved to another pack since is not followed, so a reader
        that misses an id in the answer looks in all segments too.
        """
        wanted = dict.fromkeys(names)
        rows = {name: self._rows_of(name) for name in wanted if name in self._by_name}
        old = [name for name in wanted if name not in rows]
        if old:
            # every segment of a run carries the same list, so the first one speaks for its run
            successors = [(run, frozenset(self.segment(run.rows[0].name).supersedes)) for run in self._runs]
            for name in old:
                holders = [run for run, superseded in successors if name[:SHORT_NAME] in superseded]
                if not holders:
                    return None
                rows[name] = [row for run in holders for row in run.rows]
        return list(dict.fromkeys(row for found in rows.values() for row in found))

    def _rows_of(self, name: bytes) -> list[SegmentRow]:
        run, number = self._by_name[name]
        return [run.rows[number]]


class Merge(NamedTuple):
    """A plan: the rows (whole runs) to merge with new entries."""

    replaced: tuple[SegmentRow, ...]


class Merged(NamedTuple):
    """What a merge did: the rows that it took and those that it made (:meth:`apply` numbers them)."""

    replaced: tuple[SegmentRow, ...]
    added: tuple[SegmentRow, ...]

    def apply(self, rows: Sequence[SegmentRow]) -> tuple[SegmentRow, ...] | None:
        """The list of rows after the merge, newest run first.

        ``rows`` may differ from those that were planned with, because somebody else published meanwhile; None
        if he merged away what this merge took: plan again.
        """
        gone = {row.name for row in self.replaced}
        kept = [row for row in rows if row.name not in gone]
        if len(kept) + len(gone) != len(rows):
            return None
        run = max((row.run for row in kept), default=-1) + 1
        made = {row.name for row in self.added}
        added = [row._replace(run=run) for row in self.added]
        return (*added, *(row for row in kept if row.name not in made))


def plan_merge(rows: Sequence[SegmentRow], new_count: int, *, light: bool = False) -> Merge:
    """Which runs a commit of ``new_count`` entries merges with its own.

    From the smallest up, as long as a run has at most three times the entries gathered so far: so what stays
    forms a geometric progression, however unequal the commits are. A commit never gathers more than 2.8
    million entries, a ``light`` one (a tag, a note) never more than can be merged without numpy.
    """
    limit = LIGHT_ENTRIES if light else COMMIT_ENTRIES
    total = new_count
    replaced: list[SegmentRow] = []
    for run in reversed(_runs(rows)):
        if run.count > (GROWTH - 1) * total or total + run.count > limit:
            break
        total += run.count
        replaced += run.rows
    return Merge(tuple(replaced))


def plan_full_merge(rows: Sequence[SegmentRow]) -> Merge:
    """Merge everything into one run, as gc does."""
    return Merge(tuple(rows))


def merge(
    plan: Merge,
    new: Iterable[Entry],
    index: Index,
    store: Callable[[bytes, bytes], None],
    *,
    keep: Keep | None = None,
    max_bytes: int = MAX_BYTES,
    nonce: bytes | None = None,
) -> Merged:
    """Write the segments that hold the new entries and the live ones of the plan's rows.

    With ``keep``, entries of a segment that it names are dropped too where its byte for their row is 0.
    ``index`` holds the plan's rows and knows the dead packs, whose entries are dropped. ``store`` gets the
    name and the bytes of each finished segment; nothing refers to them before root does. Memory: the new
    entries, one output segment and about 20 MiB (see :mod:`mvc.odb.merge`), however much is merged.

    ``nonce`` (12 bytes; random unless given) is in each segment, so that of two who merge the same runs
    neither makes one that the other has made: who loses deletes his own.

    Raises:
        CorruptFile: a segment to be merged is damaged. The commit can still be made without merging, with an
        empty
            plan (``Merge(())``); what was stored is garbage then.
    """
    runs = [_opened(run, index) for run in _runs(plan.replaced)]
    new = list(new)
    earlier = chain((row.name for row in plan.replaced), *(run[0].supersedes for run in runs))
    mark = nonce_name(os.urandom(NONCE_BYTES) if nonce is None else nonce)
    superseded = shorten(chain((mark,), (name for name in earlier if not is_nonce(name))))
    total = len(new) + sum(row.entries for row in plan.replaced)
    added = []
    for data in _merged(runs, new, superseded, index.dead_packs, total, max_bytes, keep or {}):
        row = _row(data)
        store(row.name, data)
        added.append(row)
    return Merged(plan.replaced, tuple(added))


def _opened(run: _Run, index: Index) -> list[Segment]:
    """A run's segments, without the pages that were read to check their heads."""
    segments = []
    for row in run.rows:
        segments.append(index.segment(row.name))
        segments[-1].forget_pages()
    return segments


def _merged(
    runs: list[list[Segment]],
    new: list[Entry],
    superseded: list[bytes],
    dead_packs: Container[bytes],
    total: int,
    max_bytes: int,
    keep: Keep,
) -> Iterable[bytes]:
    """The merged segments' bytes: by plain sorting when there is little, else streamed."""
    if not runs or total <= LIGHT_ENTRIES:
        for run in runs:
            for segment in run:
                segment.verify_name()
        old = (_kept(segment, keep) for segment in chain(*runs))
        entries = (entry for entry in chain(new, *old) if entry.pack not in dead_packs)
        return build_segments(entries, superseded, max_bytes)
    # numpy takes 80 ms to import, which a command that merges little must not pay
    from mvc.odb.merge import merge_runs

    fresh = [Segment.open(segment_name(data), data) for data in build_segments(new)]
    return merge_runs([fresh, *runs] if fresh else runs, superseded, dead_packs, max_bytes, keep)


def _kept(segment: Segment, keep: Keep) -> Iterable[Entry]:
    wanted = keep.get(segment.name)
    return segment if wanted is None else compress(segment, wanted)


def _row(data: bytes) -> SegmentRow:
    segment = Segment.open(segment_name(data), data)
    return SegmentRow(segment.name, 0, segment.count, segment.first, segment.last)
