"""Stores an object anew as it is planned, where that is smaller, or where the plan needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mvc.codecs import Step
from mvc.codecs.frames import compress
from mvc.errors import DamageError
from mvc.monitor import Monitor
from mvc.objectid import BlobId, ObjectId
from mvc.odb.database import ObjectDatabase
from mvc.odb.record import Base, Record
from mvc.odb.writer import Hint, ObjectWriter
from mvc.upkeep.standing import Target, depth_of, fits

_BEST_LEVEL = 19  # of zstd


class Reencoder:
    """Makes the records of a plan. ``best`` tries every base that the plan knows, and zstd's level 19."""

    def __init__(
        self, objects: ObjectDatabase, targets: Mapping[ObjectId, Target], monitor: Monitor, *, best: bool
    ) -> None:
        self._objects = objects
        self._targets = targets
        self._monitor = monitor
        self._writer = ObjectWriter(objects, monitor)
        self._best = best

    def record(self, identity: ObjectId) -> Record | None:
        """The record to add; None where the one that is there stays. Thread-safe.

        What is damaged stays as it is, and the monitor hears of it.
        """
        target = self._targets[identity]
        try:
            old = self._objects.record(identity)
            may_stay = fits(old, self._targets, self._objects)
            if may_stay and not self._best and (old.bases == target.bases or not target.bases):
                return None
            plain = self._objects.get(identity)
        except DamageError as error:
            self._monitor.note_damage(f"{error.message}; left as it is")
            return None
        new = min(self._candidates(identity, plain, old, target), key=_size)
        return None if may_stay and _size(old) <= _size(new) else new

    def _depth(self, identity: ObjectId) -> int:
        return depth_of(identity, self._targets, self._objects)

    def _candidates(self, identity: ObjectId, plain: bytes, old: Record, target: Target) -> Iterator[Record]:
        for bases in self._usable(target, isinstance(identity, BlobId)):
            depth = max((self._depth(base.id) for base in bases), default=0)
            yield self._writer.prepare(identity, plain, Hint(target.dtype, bases, depth))
            if target.dtype is None and (self._best or not isinstance(identity, BlobId)):
                yield self._opaque(identity, plain, bases, depth)
        if self._best and target.dtype is not None:
            yield self._opaque(identity, plain, (), 0)
        if old.recipe is not None and all(
            self._ready(base.id) and not self._depth(base.id) for base in old.bases
        ):
            yield self._writer.prepare(identity, plain, Hint(target.dtype, old.bases, 0, old.recipe))

    def _usable(self, target: Target, piece: bool) -> Iterator[tuple[Base, ...]]:
        """The sets of bases to try, of those that are stored as planned by now."""
        sets = [target.bases, *((other,) for other in target.others if self._best)]
        if target.bases and (self._best or not piece):
            sets.append(())
        ready = [bases for bases in sets if all(self._ready(base.id) for base in bases)]
        return iter(ready or [()])

    def _ready(self, identity: ObjectId) -> bool:
        entries = self._objects.entries(identity)
        return bool(entries) and entries[0].depth <= self._depth(identity)

    def _opaque(self, identity: ObjectId, plain: bytes, bases: tuple[Base, ...], depth: int) -> Record:
        """With all the time that zstd takes."""
        if not bases:
            frame = compress(plain, _BEST_LEVEL)
            return Record(identity, len(plain), 0, (Step("zstd", 1, {}, len(frame)),), None, (), frame)
        dictionary = self._objects.predict(bases, None, depth + 1, len(plain))
        frame = compress(plain, _BEST_LEVEL, dictionary)
        step = Step("zstd", 1, {"dictionary": True}, len(frame))
        return Record(identity, len(plain), depth + 1, (step,), None, bases, frame)


def _size(record: Record) -> int:
    """Bytes that a record takes in a pack."""
    return sum(memoryview(piece).nbytes for piece in record.to_pieces())
