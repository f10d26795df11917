"""Which object is to stand alone, and what each other one is to be told from.

The versions of one file stand in a sequence, the one that stands alone first (:mod:`mvc.upkeep.lines`).

- A piece of a tensor leans on the same piece of the nearest *anchor*, before or behind it; anchors lean on
  the first of the sequence. So reading takes at most two bases, and every base is near.
- Text and pieces of unknown content lean on what stood there a few versions before, at most eight deep.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mvc.bases import DICTIONARY_REACH, MAX_TEXT_DEPTH, MIN_TEXT, Placed
from mvc.dtypes import DTYPES, DType
from mvc.history.reader import read_manifest
from mvc.objectid import ManifestId, ObjectId, TreeId
from mvc.objects import Manifest
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import MAX_BASES, Base, Record
from mvc.spans import NotTileable, Region, Span, tile
from mvc.upkeep.lines import Sequences
from mvc.upkeep.within import Within

ANCHOR_EVERY = 4
"""Versions of a tensor from one anchor to the next; docs/design/0009-gc.md has what others cost."""

DEEPEST = 2
"""Depth of the deepest piece of a tensor that is told from another version's."""

_TOGETHER = 4  # texts of one version that another one of it leans on
_SMALL_TEXT = 64 << 10  # bytes of one that is taken beside the nearest

_TABLE_ROWS = 50_000  # pieces of all manifests that are held parsed, beside the two that are compared


class Target(NamedTuple):
    """How an object is to be stored: at most so deep, leaning on these bases (none: alone).

    ``others`` may be leaned on instead, each by itself. ``rank`` is its place in the sequence, ``floor`` the
    depth of the one that stands alone with its version, of which this is told in the end.
    """

    depth: int
    bases: tuple[Base, ...]
    dtype: DType | None
    rank: int
    others: tuple[Base, ...] = ()
    floor: int = 0


def depth_of(identity: ObjectId, targets: Mapping[ObjectId, Target], objects: ObjectDatabase) -> int:
    """How deep an object will be at most."""
    planned = targets.get(identity)
    if planned is not None:
        return planned.depth
    entries = objects.entries(identity)
    return entries[0].depth if entries else 0


def fits(record: Record, targets: Mapping[ObjectId, Target], objects: ObjectDatabase) -> bool:
    """Whether a record of a planned object may stay: it is not too deep, and what it leans on will not be
    either.

    A recipe whose bases stand alone makes nearly all of an object out of others: where those stay, it does
    too.
    """
    shallow = record.depth <= targets[record.id].depth or (record.recipe is not None and record.depth == 1)
    return shallow and all(depth_of(base.id, targets, objects) < record.depth for base in record.bases)


class Plan:
    """Targets by object; :meth:`add` plans the sequences of a line, those that stand alone first.

    ``within`` are pieces that lean on nothing but the versions which are to stand alone: they stay as they
    are. With ``best`` targets name other bases to try, too.
    """

    def __init__(
        self,
        objects: ObjectDatabase,
        within: Mapping[ObjectId, Within] | None = None,
        *,
        best: bool = False,
    ) -> None:
        self._objects = objects
        self._within = within or {}
        self._best = best
        self._tables: OrderedDict[ManifestId, _Table] = OrderedDict()
        self.targets: dict[ObjectId, Target] = {}

    def add(self, sequences: Sequences) -> None:
        """Plan what is not planned yet.

        File lists that begin a sequence lean on each other, since models of one kind have tensors of equal
        names: a version that stands alone needs nothing of another one, but one of its texts may need others.
        """
        for kind in (TreeId.kind, ManifestId.kind):
            firsts = [sequence[0] for place, sequence in sequences.items() if place.kind == kind]
            self._add_text(firsts, together=_TOGETHER)
        for place, sequence in sequences.items():
            self._add_text(sequence)
            if place.kind == ManifestId.kind:
                self._add_file([ManifestId(identity) for identity in sequence])

    # --- text ----------------------------------------------------------------------------------------------
    def _add_text(self, sequence: Sequence[ObjectId], together: int = 1) -> None:
        """Plan texts that lean on the one before, or on so many before ``together``."""
        for rank, identity in enumerate(sequence):
            if identity in self.targets:
                continue
            near = text_base(rank)
            bases: list[Base] = []
            depth = 0
            for base in dict.fromkeys(sequence[max(near - together + 1, 0) : near + 1]):
                known = self.targets.get(base)
                if known is None or known.depth >= MAX_TEXT_DEPTH:
                    continue
                length = len(self._objects.get(base))
                if length >= MIN_TEXT and (base == sequence[near] or length <= _SMALL_TEXT):
                    bases.append(Base(base, 0, length))
                    depth = max(depth, known.depth + 1)
            if not bases or len(self._objects.get(identity)) < MIN_TEXT:
                bases, depth = [], 0
            self.targets[identity] = Target(depth, tuple(bases), None, rank)

    # --- files ---------------------------------------------------------------------------------------------
    def _add_file(self, sequence: Sequence[ManifestId]) -> None:
        count = len(sequence)
        anchors = range(0, count, ANCHOR_EVERY)
        for rank in (*anchors, *(rank for rank in range(count) if rank % ANCHOR_EVERY)):
            table = self._table(sequence[rank])
            base = self._table(sequence[tensor_base(rank, count)]) if rank else None
            beside = other_bases(rank, count) if self._best else []
            others = [self._table(sequence[other]) for other in beside]
            for placed, region in table.pieces():
                if region.span is not None and placed.id not in self.targets:
                    self.targets[placed.id] = self._tensor(placed, region, region.span, base, others, rank)
        for rank in range(count):
            table = self._table(sequence[rank])
            base = self._table(sequence[text_base(rank)]) if rank else None
            for placed, region in table.pieces():
                if region.span is None and placed.id not in self.targets:
                    self.targets[placed.id] = self._content(placed, base, rank)

    def _tensor(
        self,
        placed: Placed,
        region: Region,
        span: Span,
        base: _Table | None,
        others: Sequence[_Table],
        rank: int,
    ) -> Target:
        dtype = DTYPES[span.dtype]
        within = self._within.get(placed.id) if base is None else None
        if within is not None:
            return Target(within.depth, within.bases, dtype, rank, floor=within.depth)
        position = placed.offset - region.offset
        found = None if base is None else self._anchor(base.same(span, position, placed))
        if found is None:
            return Target(0, (), dtype, rank)
        depth = self.targets[found.id].depth + 1
        beside = [self._anchor(other.same(span, position, placed)) for other in others]
        usable = dict.fromkeys(one for one in beside if one is not None and one != found)
        return Target(
            depth,
            (found,),
            dtype,
            rank,
            tuple(one for one in usable if self.targets[one.id].depth < depth),
            self.targets[found.id].floor,
        )

    def _anchor(self, placed: Placed | None) -> Base | None:
        """The piece, or what it leans on where it is too deep itself."""
        identity = None if placed is None else placed.id
        while identity is not None and placed is not None:
            target = self.targets.get(identity)
            if target is None or target.dtype is None:
                return None
            if target.depth - target.floor < DEEPEST:
                return Base(identity, 0, placed.length)
            identity = target.bases[0].id if target.bases else None
        return None

    def _content(self, placed: Placed, base: _Table | None, rank: int) -> Target:
        depth = 0
        bases: list[Base] = []
        for near in [] if base is None else base.near(placed):
            target = self.targets.get(near.id)
            if near.id != placed.id and target is not None and target.depth < MAX_TEXT_DEPTH:
                bases.append(Base(near.id, 0, near.length))
                depth = max(depth, target.depth + 1)
        return Target(depth, tuple(bases), None, rank)

    def _table(self, identity: ManifestId) -> _Table:
        table = self._tables.get(identity)
        if table is None:
            table = self._tables[identity] = _Table(read_manifest(self._objects, identity))
        self._tables.move_to_end(identity)
        while len(self._tables) > 2 and sum(map(len, self._tables.values())) > _TABLE_ROWS:
            self._tables.popitem(last=False)
        return table


def text_base(rank: int) -> int:
    """Which of a sequence the one at ``rank`` leans on: near, and never more than eight deep."""
    return rank - 1 if rank % MAX_TEXT_DEPTH else 0


def tensor_base(rank: int, count: int) -> int:
    """The nearest anchor of one that is none; the first of all for an anchor."""
    if rank % ANCHOR_EVERY == 0:
        return 0
    behind = (rank + ANCHOR_EVERY // 2) // ANCHOR_EVERY * ANCHOR_EVERY
    return behind if behind < count else rank // ANCHOR_EVERY * ANCHOR_EVERY


def other_bases(rank: int, count: int) -> list[int]:
    """What else may be tried: the first, and the anchors on both sides."""
    before = rank // ANCHOR_EVERY * ANCHOR_EVERY
    found = {0, before, before + ANCHOR_EVERY} if rank % ANCHOR_EVERY else {0}
    return sorted(other for other in found if other < count and other not in (rank, tensor_base(rank, count)))


class _Table:
    """A file's pieces by place."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._placed = [
            Placed(offset, part.length, part.blob)
            for offset, part in manifest.placed_parts()
            if part.blob is not None
        ]
        self._offsets = [placed.offset for placed in self._placed]
        self._by_offset = {placed.offset: placed for placed in self._placed}
        self._tensors = {(span.name, span.dtype, span.shape): span for span in manifest.tensors}

    def __len__(self) -> int:
        return len(self._placed)

    def pieces(self) -> Iterator[tuple[Placed, Region]]:
        """Each stored piece with the region of the file that it is cut from."""
        size = self._manifest.size
        try:
            regions = list(tile(size, self._manifest.tensors))
        except NotTileable:  # no writer of ours makes such a table, but it is description only
            regions = [Region(0, size, None)]
        starts = [region.offset for region in regions]
        for placed in self._placed:
            yield placed, regions[bisect_right(starts, placed.offset) - 1]

    def same(self, span: Span, position: int, wanted: Placed) -> Placed | None:
        """The piece at the same position of the same tensor, where it is as long and another one."""
        own = self._tensors.get((span.name, span.dtype, span.shape))
        if own is None or own.strides != span.strides:
            return None
        placed = self._by_offset.get(own.offset + position)
        usable = placed is not None and placed.length == wanted.length and placed.id != wanted.id
        return placed if usable else None

    def near(self, wanted: Placed) -> list[Placed]:
        """What lies around the same place, as much as a dictionary reaches."""
        low = wanted.offset - DICTIONARY_REACH
        high = wanted.offset + wanted.length + DICTIONARY_REACH
        first = max(bisect_right(self._offsets, low) - 1, 0)
        return self._placed[first : bisect_left(self._offsets, high)][:MAX_BASES]
