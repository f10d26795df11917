"""Merges many index entries in little memory: segments stream through numpy, window by window.

Kept apart from :mod:`mvc.odb.index` because light commands must not import numpy. Memory does not grow with
what is merged, apart from one table of pack names: 65,536 rows of windows, one output segment, temporaries.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvc.errors import CorruptFile
from mvc.odb.segment import (
    HINT,
    MAX_DEPTH,
    MAX_PACK_BYTES,
    PACK_HEAD,
    RECORD_HEAD,
    Segment,
    assemble,
    bucket_shift,
    capacity,
)

WINDOW_ROWS = 1 << 16  # shared by the runs that are merged
_LEAST_WINDOW = 1024

_WORDS = 4  # an id as four big-endian words, so that comparing words compares bytes
_ROW = np.dtype([("pack", "<u4"), ("offset", "<u4"), ("length", "<u4"), ("depth", "u1"), ("kind", "u1")])

_Words = NDArray[np.uint64]
_Rows = NDArray[Any]


class _Batch:
    """Rows in memory: ids as native words of shape (n, 4); ``pack`` counts in the merge's table of packs."""

    __slots__ = ("ids", "rows")

    def __init__(self, ids: _Words, rows: _Rows) -> None:
        self.ids = ids
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> _Batch:
        return _Batch(self.ids[which], self.rows[which])

    @classmethod
    def join(cls, batches: Sequence[_Batch]) -> _Batch:
        return cls(np.concatenate([b.ids for b in batches]), np.concatenate([b.rows for b in batches]))


class _Run:
    """Reads one run in windows; each segment is verified against its name before its first row is used."""

    def __init__(
        self,
        segments: Sequence[Segment],
        ordinals: Callable[[Segment], _Rows],
        window: int,
        keep: Mapping[bytes, bytes | bytearray],
    ) -> None:
        self._segments = list(segments)
        self._ordinals = ordinals
        self._least_window = window
        self._keep = keep
        self._at = 0  # in the first of the segments
        self._map: _Rows | None = None
        self.window = _Batch(np.empty((0, _WORDS), np.uint64), np.empty(0, _ROW))

    @property
    def complete(self) -> bool:
        """Whether the window holds all that is left."""
        return not self._segments

    @property
    def last(self) -> int:
        """Prefix of the window's last id."""
        return int(self.window.ids[-1, 0])

    def fill(self) -> None:
        """Have something in the window, if anything is left."""
        if not len(self.window) and not self.complete:
            self.extend()

    def extend(self) -> None:
        """Read as many rows on as the window has, at least the usual number."""
        pieces = [self.window]
        missing = max(self._least_window, len(self.window))
        while missing > 0 and self._segments:
            piece = self._read(missing)
            missing -= len(piece)
            pieces.append(piece)
        joined = _Batch.join(pieces)
        prefixes = joined.ids[:, 0]
        if np.any(prefixes[1:] < prefixes[:-1]):
            raise CorruptFile("index segments of a run have ids out of order", hint=HINT)
        self.window = joined

    def _read(self, most: int) -> _Batch:
        segment = self._segments[0]
        if self._map is None:
            segment.verify_name()
            self._map = self._ordinals(segment)
        count = min(most, segment.count - self._at)
        ids_at = segment.ids_at + 8 * _WORDS * self._at
        rows_at = segment.rows_at + _ROW.itemsize * self._at
        ids = (
            np.frombuffer(segment.data, ">u8", _WORDS * count, ids_at)
            .astype(np.uint64)
            .reshape(count, _WORDS)
        )
        rows = np.frombuffer(segment.data, _ROW, count, rows_at).copy()
        ends = rows["offset"].astype(np.uint64) + rows["length"]
        fits = (rows["offset"] >= PACK_HEAD) & (rows["length"] >= RECORD_HEAD) & (ends <= MAX_PACK_BYTES)
        if not np.all(fits & (rows["depth"] <= MAX_DEPTH) & (rows["pack"] < len(self._map))):
            raise segment.damaged("has an entry that no pack can hold")
        rows["pack"] = self._map[rows["pack"]]
        batch = _Batch(ids, rows)
        wanted = self._keep.get(segment.name)
        if wanted is not None:
            batch = batch[np.flatnonzero(np.frombuffer(wanted, np.uint8, count, self._at))]
        self._at += count
        if self._at == segment.count:
            self._segments.pop(0)
            self._at, self._map = 0, None
        segment.forget_pages()
        return batch

    def take(self, below: int | None) -> _Batch:
        """Take the window's rows whose prefix is less than ``below`` (None: all)."""
        count = len(self.window)
        if below is not None:
            count = int(np.searchsorted(self.window.ids[:, 0], np.uint64(below)))
        taken, self.window = self.window[:count], self.window[count:]
        return taken


def merge_runs(
    runs: Sequence[Sequence[Segment]],
    superseded: Sequence[bytes],
    dead_packs: Container[bytes],
    max_bytes: int,
    keep: Mapping[bytes, bytes | bytearray] | None = None,
) -> Iterator[bytes]:
    """Yield the segments that hold the live entries of some runs, by ascending ranges of ids.

    ``superseded`` as :func:`mvc.odb.segment.shorten` returns it, ``keep`` as for
    :func:`mvc.odb.index.merge`. Gives the same bytes as :func:`mvc.odb.segment.build_segments` over the same
    entries.

    Raises:
        CorruptFile: a segment is not what was written. What was yielded before must not be used then.
    """
    seen: set[bytes] = set()
    for run in runs:
        for segment in run:
            seen.update(segment.packs)
            segment.forget_pages()
    names = sorted(seen)
    ordinal = {name: number for number, name in enumerate(names)}
    dead = np.fromiter((name in dead_packs for name in names), np.bool_, len(names))

    def ordinals(segment: Segment) -> _Rows:
        packs = segment.packs
        return np.fromiter((ordinal[name] for name in packs), np.uint32, len(packs))

    room = capacity(len(names) - int(dead.sum()), len(superseded), max_bytes)
    window = max(_LEAST_WINDOW, WINDOW_ROWS // max(1, len(runs)))
    pending: list[_Batch] = []
    for batch in _sorted_batches([_Run(run, ordinals, window, keep or {}) for run in runs], dead):
        pending.append(batch)
        while sum(map(len, pending)) > room:
            whole = _Batch.join(pending)
            cut = _cut(whole.ids, room)
            yield _encode(whole[:cut], names, superseded)
            pending = [whole[cut:]]
    rest = _Batch.join(pending) if pending else None
    if rest is not None and len(rest):
        yield _encode(rest, names, superseded)


def _sorted_batches(runs: list[_Run], dead: NDArray[np.bool_]) -> Iterator[_Batch]:
    """The live rows of all runs in order and without duplicates; all rows of one prefix come in one batch."""
    any_dead = bool(dead.any())
    while True:
        for run in runs:
            run.fill()
        runs = [run for run in runs if len(run.window)]
        if not runs:
            return
        # rows below the least last prefix are known of every run; equal ones may go on behind the window
        open_runs = [run for run in runs if not run.complete]
        below = min((run.last for run in open_runs), default=None)
        batch = _Batch.join([run.take(below) for run in runs])
        if not len(batch):
            for run in open_runs:
                if run.last == below:
                    run.extend()
            continue
        if any_dead:
            batch = batch[~dead[batch.rows["pack"]]]
        if len(batch):
            yield _sort(batch)


def _sort(batch: _Batch) -> _Batch:
    """Rows in a segment's order, exact duplicates dropped."""
    batch = batch[np.argsort(batch.ids[:, 0], kind="stable")]
    prefixes = batch.ids[:, 0]
    same = prefixes[1:] == prefixes[:-1]
    if not same.any():
        return batch
    # only rows that share their prefix with a neighbour need the other keys; they stay among themselves
    tied = np.zeros(len(batch), np.bool_)
    tied[1:] |= same
    tied[:-1] |= same
    where = np.flatnonzero(tied)
    ids, rows = batch.ids[where], batch.rows[where]
    keys = [rows[name] for name in ("kind", "length", "offset", "pack", "depth")]
    order = np.lexsort([*keys, *(ids[:, word] for word in reversed(range(_WORDS)))])
    ids, rows = ids[order], rows[order]
    batch.ids[where], batch.rows[where] = ids, rows
    keep = np.ones(len(batch), np.bool_)
    keep[where[1:]] = np.any(ids[1:] != ids[:-1], axis=1) | (rows[1:] != rows[:-1])
    return batch[keep]


def _cut(ids: _Words, room: int) -> int:
    """Where to end a segment of at most ``room`` rows without parting the records of one id."""
    cut = room
    while cut and np.array_equal(ids[cut], ids[cut - 1]):
        cut -= 1
    if cut:
        return cut
    cut = room
    while cut < len(ids) and np.array_equal(ids[cut], ids[cut - 1]):
        cut += 1
    return cut


def _encode(batch: _Batch, names: Sequence[bytes], superseded: Sequence[bytes]) -> bytes:
    """One segment of sorted rows."""
    prefixes = batch.ids[:, 0]
    first, last = int(prefixes[0]), int(prefixes[-1])
    shift = bucket_shift(first, last, len(batch))
    buckets = (last - first >> shift) + 1
    # two shifts, because one by 64 is not defined
    bucket = (prefixes - np.uint64(first)) >> np.uint64(shift // 2) >> np.uint64(shift - shift // 2)
    starts = np.zeros(buckets + 1, "<u4")
    np.cumsum(np.bincount(bucket.astype(np.int64), minlength=buckets), out=starts[1:])
    used = np.unique(batch.rows["pack"])
    rows = batch.rows.copy()
    rows["pack"] = np.searchsorted(used, rows["pack"])
    return assemble(
        len(batch),
        [names[number] for number in used.tolist()],
        superseded,
        shift,
        starts.tobytes(),
        batch.ids.astype(">u8").data.cast("B"),
        rows.view(np.uint8).data,
    )
