"""What a collection would do, without doing it.

Its steps are followed with sizes in the place of bytes: what leaves, what is copied and how that fills new
packs, which segments and pieces are written. Numbers of records and packs are those of the collection that
comes next, if nothing happens in between; bytes may differ by some hundreds.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from mvc.backends import Backend
from mvc.backends.memory import MemoryBackend
from mvc.collection.census import Census, census
from mvc.collection.collect import Collected
from mvc.collection.needs import garbage, needed, refuse_damage, uses
from mvc.collection.rewriting import batches
from mvc.fileio import storage_errors
from mvc.odb.index import SegmentRow, merge, plan_full_merge
from mvc.odb.pack import HEAD_BYTES, TARGET_PACK, pack_key
from mvc.odb.segment import Entry
from mvc.odb.writer import ObjectWriter
from mvc.oplog import piece_key
from mvc.repo import Repository
from mvc.store import STORED
from mvc.upkeep.expire import expired
from mvc.upkeep.mark import Marks
from mvc.upkeep.usage import PackUse, unused, worth_rewriting
from mvc.view import View, segment_key

_BLOCK = 4096  # bytes that most file systems allocate at once


def preview(repository: Repository, since: int | None) -> Collected:
    """What :func:`mvc.collection.collect.collect` would find and leave; what it would store anew with
    ``repack``, and what it would put into the trash, is left out.

    Raises:
        DamageError: something that is needed is missing or damaged.
    """
    before = census(repository)
    with repository.reading() as view:
        refuse_damage(view)
        marks = needed(repository, view, since)
        found = garbage(view, marks)
        files = {key: size for place in STORED for key, size in view.backend.list(place)}
        plan = _Plan(repository, view, marks, since)
        gone = files.keys() - plan.kept
        kept = [key for key in files if key in plan.kept]
        after = Census(
            before.records - found.records + len(marks.again),
            sum(key.startswith("packs/") for key in kept) + len(plan.packs),
            sum(key.startswith("segments/") for key in kept) + len(plan.segments),
            plan.root_bytes + sum(files[key] for key in kept) + plan.added_bytes,
            before.disk_bytes - _allocated(repository, gone) + plan.added_room,
            before.trash_bytes,
        )
    return Collected(before, after, found, plan.dropped, 0)


class _Plan:
    """Which files a collection leaves.

    ``kept`` are the keys of those that stay; ``packs``, ``segments`` and ``pieces`` the sizes of those that
    come; ``dropped`` counts the operations that leave the log.
    """

    def __init__(self, repository: Repository, view: View, marks: Marks, since: int | None) -> None:
        self.packs: list[int] = []
        self.segments: list[int] = []
        self.kept: set[str] = set()
        sandbox = _Sandbox(view.backend)
        log, going = expired(view.root.oplog, sandbox, since)
        self.dropped = len(going)
        pieces = [piece_key(name) for name in log.piece_names(sandbox)]
        following = log.next_piece()
        pieces += [] if following is None else [piece_key(following)]
        pieces += [piece_key(name) for _first, name in view.root.refs.pieces]
        self.kept.update(key for key in pieces if not sandbox.has(key))
        self.pieces = [size for _key, size in sandbox.list("pieces/")]
        copied, changed = self._plan_packs(repository, view, marks)
        rows = view.root.segments
        if changed or len({row.run for row in rows}) > 1:
            rows = self._plan_segments(view, marks, 32 * (len(self.packs) - copied))
        else:
            self.kept.update(segment_key(row.name) for row in rows)
        root = view.root.with_changes(oplog=log, fossils=(), retired=(), segments=rows)
        self.root_bytes = len(root.to_bytes())

    @property
    def added_bytes(self) -> int:
        """Bytes of the files that come."""
        return sum(self.packs) + sum(self.segments) + sum(self.pieces)

    @property
    def added_room(self) -> int:
        """What the disk allocates for them, a folder for each pack too."""
        files = [*self.packs, *self.segments, *self.pieces]
        return sum(-(-size // _BLOCK) * _BLOCK for size in files) + _BLOCK * len(self.packs)

    def _plan_packs(self, repository: Repository, view: View, marks: Marks) -> tuple[int, bool]:
        """How many of the packs that are there are copied, and whether the index changes at all."""
        writer = ObjectWriter(view.objects, repository.monitor)
        anew = (writer.prepare(name, view.objects.get(name)) for name in sorted(marks.again))
        again = [sum(memoryview(piece).nbytes for piece in record.to_pieces()) for record in anew]
        used = uses(view, marks)
        staying = {name: use for name, use in used.items() if use.records}
        # packs of what is stored anew; they have no names yet
        fresh = {bytes([number]): size for number, size in enumerate(_packed(again))}
        staying.update({name: PackUse(size, 1, size - HEAD_BYTES) for name, size in fresh.items()})
        copied = worth_rewriting(staying)
        lengths = _lengths(marks, set(copied) - fresh.keys()) | dict.fromkeys(fresh, again)
        for batch in batches([(name, staying[name].size) for name in copied]):
            self.packs += _packed(length for name in batch for length in lengths[name])
        self.packs += [size for name, size in fresh.items() if name not in copied]
        self.kept.update(pack_key(name) for name in staying.keys() - fresh.keys() - set(copied))
        changed = bool(copied or again) or any(0 in marked for marked in marks.rows.values())
        return len(set(copied) - fresh.keys()) + len(unused(used)), changed

    def _plan_segments(self, view: View, marks: Marks, names: int) -> tuple[SegmentRow, ...]:
        """The rows of the one run that is left, whose tables of packs are so many bytes longer than those of
        what stays."""
        rows = view.root.segments
        new = [Entry(bytes(one), one.kind, bytes(32), HEAD_BYTES, 64, 0) for one in marks.again]
        merged = merge(
            plan_full_merge(rows),
            new,
            view.index,
            lambda _name, data: self.segments.append(len(data)),
            keep=marks.rows,
        )
        if self.segments:
            self.segments[0] += names
        return merged.apply(rows) or ()


class _Sandbox(MemoryBackend):
    """Takes what is put, beside a store that it reads."""

    def __init__(self, store: Backend) -> None:
        super().__init__()
        self._store = store

    def get(self, key: str) -> bytes:
        """What was put here, or lies in the store."""
        return super().get(key) if self.has(key) else self._store.get(key)

    def has(self, key: str) -> bool:
        """Whether it was put here."""
        return key in self._objects


def _allocated(repository: Repository, keys: Iterable[str]) -> int:
    """What the disk has allocated for some files, and for the folders that become empty without them."""
    going = set(keys)
    total = 0
    with storage_errors("cannot look at the store"):
        for key in going:
            total += repository.io.stat(repository.store / key).st_blocks * 512
        for folder in {str(PurePosixPath(key).parent) for key in going}:
            inside = {
                f"{folder}/{entry.name}" for entry in repository.io.scan_folder(repository.store / folder)
            }
            if "/" in folder and inside <= going:
                total += repository.io.stat(repository.store / folder).st_blocks * 512
    return total


def _lengths(marks: Marks, packs: set[bytes]) -> dict[bytes, list[int]]:
    """The lengths of the needed records of some packs, in order of place."""
    found: dict[bytes, set[tuple[int, int]]] = {name: set() for name in packs}
    for entry in marks.entries():
        if entry.pack in packs:
            found[entry.pack].add((entry.offset, entry.length))
    return {name: [length for _offset, length in sorted(places)] for name, places in found.items()}


def _packed(lengths: Iterable[int]) -> list[int]:
    """The sizes of the packs that records of these lengths fill, as :class:`mvc.odb.pack.PackWriter` does."""
    sizes: list[int] = []
    size = HEAD_BYTES
    for length in lengths:
        if size > HEAD_BYTES and size + length > TARGET_PACK:
            sizes.append(size)
            size = HEAD_BYTES
        size += length
    return [*sizes, size] if size > HEAD_BYTES else sizes
