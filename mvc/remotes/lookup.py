"""Many ids in an index that may be far away: each segment is asked for once, several at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter

from mvc.backends import Backend
from mvc.objectid import KINDS, BlobId, ObjectId
from mvc.odb.index import Index
from mvc.odb.ranged import RangedSegment, Rows
from mvc.odb.record import MAX_DEPTH
from mvc.odb.segment import Entry, SegmentRow
from mvc.parallel import ordered_map
from mvc.remotes.ranges import IN_FLIGHT

ANY_DEPTH = MAX_DEPTH + 1
ENTRY_BYTES = 46
"""Of a segment, about, for each entry."""

_BESIDE_BYTES = 256 << 10


class Lookup:
    """Looks ids up run by run, the smallest run first, because what is new is there, and stops where it finds
    them: whoever fetches what is new need not fetch the index of what is old."""

    def __init__(self, index: Index) -> None:
        self._index = index
        ordered = sorted(index.rows, key=attrgetter("run", "first", "last"))
        runs = [list(rows) for _, rows in groupby(ordered, key=attrgetter("run"))]
        self._runs = sorted(runs, key=lambda rows: sum(row.entries for row in rows))
        self._opened: dict[bytes, None] = {}

    def find(self, wanted: Mapping[ObjectId, int] | Iterable[ObjectId]) -> dict[ObjectId, list[Entry]]:
        """Records of each object that has one of a smaller depth than it is wanted with, least depth first.

        Of an object that has records in several runs those of the smaller ones alone may come.

        Raises:
            CorruptFile: a segment is damaged.
        """
        found: dict[ObjectId, list[Entry]] = {}
        waiting = dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(wanted, ANY_DEPTH)
        for rows in self._runs:
            if not waiting:
                break
            self._look(rows, waiting, found)
        return {identity: sorted(entries, key=_BEST) for identity, entries in found.items()}

    def known(self, wanted: Iterable[ObjectId], most_bytes: int | None = None) -> set[ObjectId]:
        """Those objects that have a record. With ``most_bytes`` only the smaller runs are looked at, as many
        as take no more to fetch.

        Raises:
            CorruptFile: a segment is damaged.
        """
        found: dict[ObjectId, list[Entry]] = {}
        waiting = dict.fromkeys(wanted, ANY_DEPTH)
        for rows in self._runs:
            if not waiting:
                break
            if most_bytes is not None:
                most_bytes -= ENTRY_BYTES * sum(row.entries for row in rows if not self._is_here(row.name))
                if most_bytes < 0:
                    break
            self._look(rows, waiting, found)
        return set(found)

    def _is_here(self, name: bytes) -> bool:
        """Whether a segment was fetched as a whole."""
        if name not in self._opened:
            return False
        segment = self._index.segment(name)
        return not isinstance(segment, RangedSegment) or segment.is_whole

    def graph(self) -> Iterator[Entry]:
        """Every record of a commit, a tag or an alias entry in the segments opened so far, newest first.

        Raises:
            CorruptFile: a segment is damaged.
        """
        return (entry for entry in self._seen() if entry.kind in _GRAPH)

    def beside(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Records of all but pieces that lie close to some others, as a version's folders and files lie close
        to its commit, as far as the segments opened so far tell.

        Raises:
            CorruptFile: a segment is damaged.
        """
        places: dict[bytes, list[int]] = {}
        for entry in entries:
            places.setdefault(entry.pack, []).append(entry.offset)
        for entry in self._seen(at_hand=True):
            if entry.kind != BlobId.kind and any(
                abs(entry.offset - offset) <= _BESIDE_BYTES for offset in places.get(entry.pack, ())
            ):
                yield entry

    def _seen(self, *, at_hand: bool = False) -> Iterator[Entry]:
        """Every live record in the segments opened so far, newest first; in those that are ``at_hand`` as a
        whole only, or in all, which are fetched then."""
        for name in list(self._opened):
            segment = self._index.segment(name)
            if at_hand and isinstance(segment, RangedSegment) and not segment.is_whole:
                continue
            for entry in segment:
                if entry.kind in KINDS and entry.pack not in self._index.dead_packs:
                    yield entry

    def _look(
        self, rows: list[SegmentRow], waiting: dict[ObjectId, int], found: dict[ObjectId, list[Entry]]
    ) -> None:
        """Look the waiting ids up in one run; those that are found wait no longer."""
        firsts = [row.first for row in rows]
        asked: dict[int, list[ObjectId]] = {}
        for identity in waiting:
            number = bisect_right(firsts, identity[:8]) - 1
            while number >= 0 and rows[number].last >= identity[:8]:
                asked.setdefault(number, []).append(identity)
                number -= 1
        self._open([rows[number] for number in sorted(asked)])
        self._load({rows[number].name: identities for number, identities in asked.items()})
        for number, identities in sorted(asked.items()):
            segment = self._index.segment(rows[number].name)
            for identity in identities:
                entries = [
                    entry
                    for entry in segment.find(identity)
                    if entry.kind == identity.kind and entry.pack not in self._index.dead_packs
                ]
                if entries:
                    found.setdefault(identity, []).extend(entries)
                    if min(entry.depth for entry in entries) < waiting.get(identity, 0):
                        del waiting[identity]

    def _open(self, rows: list[SegmentRow]) -> None:
        names = [row.name for row in rows if row.name not in self._opened]
        if len(names) > 1:
            for _segment in ordered_map(self._index.segment, names, workers=IN_FLIGHT):
                pass
        self._opened.update(dict.fromkeys(names))

    def _load(self, asked: Mapping[bytes, Iterable[ObjectId]]) -> None:
        """Fetch what look-ups in segments that are read by ranges need, as a whole where that is about as
        much."""
        waiting: list[tuple[RangedSegment, Rows]] = []
        for name, identities in asked.items():
            segment = self._index.segment(name)
            if isinstance(segment, RangedSegment) and not segment.is_whole:
                some = segment.wanted(identities)
                much = 2 * len(some) * Backend.request_bytes >= ENTRY_BYTES * segment.count
                waiting += [(segment, rows) for rows in ([(0, segment.count)] if much else some)]
        if waiting:
            for _loaded in ordered_map(lambda item: item[0].load(item[1]), waiting, workers=IN_FLIGHT):
                pass


_BEST = attrgetter("depth", "length", "pack", "offset")
_GRAPH = frozenset((3, 4, 5))
